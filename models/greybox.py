"""The one Pyro program of all systems.

``z_P ~ prior``, ``z_aux ~ N(0, I)``, ``x ~ noise(F[f_P, f_A; z_P, z_aux])``.
Source: Takeishi & Kalousis (2021), section 2.
"""

from __future__ import annotations

from typing import cast

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.models.latent import LatentSpec
from groundvae.models.noise import GaussianNoise
from groundvae.models.precision import like
from groundvae.models.system import Decoded, System

pyro.settings.set(module_local_params=True)  # no global parameter store: models never clash

AUXILIARY = "z_aux"
OBSERVATION = "x"


class GreyBox(nn.Module):
    """A generative model part of whose latents are grounded by physics.

    Sites: every physics latent under its name, ``z_aux`` where a residual uses it, and ``x``;
    all inside the plate ``observation``. Hyperparameters of hierarchical priors are sites outside
    it, shared by all observations. Conditioned, counterfactual and predictive worlds are
    Pyro handlers on this program.
    """

    def __init__(self, system: System, noise: GaussianNoise) -> None:
        super().__init__()
        self.system = system
        self.noise = noise

    @property
    def latents(self) -> LatentSpec:
        return self.system.latents

    @property
    def latent_names(self) -> tuple[str, ...]:
        """Names of all latent sites, in the order of the program."""
        return self.latents.names + ((AUXILIARY,) if self.system.auxiliary else ())

    def forward(self, batch: Batch, *, reduced: bool = True) -> Decoded:
        hyper = {
            name: pyro.sample(name, like(prior, batch.x))
            for name, prior in self.latents.hyper.items()
        }
        with pyro.plate("observation", len(batch), dim=-1):
            physics = {
                z.name: pyro.sample(z.name, z.prior_like(batch.x, hyper)) for z in self.latents
            }
            auxiliary = self._sample_auxiliary(batch.x)
            decoded = self.system.decode(physics, auxiliary, batch.inputs, reduced=reduced)
            noise = self.noise(
                decoded.full, event_dim=self.system.event_dim, observed=batch.observed
            )
            pyro.sample(OBSERVATION, noise, obs=batch.x)
        return decoded

    def _sample_auxiliary(self, like: Tensor) -> Tensor | None:
        if not self.system.auxiliary:
            return None
        zero = torch.zeros(self.system.auxiliary, dtype=like.dtype, device=like.device)
        value: Tensor = pyro.sample(AUXILIARY, dist.Normal(zero, 1.0).to_event(1))
        return value


def site_value(trace: poutine.Trace, name: str) -> Tensor:
    """The value of one site of a trace."""
    return cast(Tensor, trace.nodes[name]["value"])


def returned(trace: poutine.Trace) -> Decoded:
    """What ``GreyBox`` returned in a trace of it."""
    return cast(Decoded, trace.nodes["_RETURN"]["value"])
