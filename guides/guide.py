"""What every guide is: a Pyro program over a model's latents, in unconstrained space."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.guides.encoder import Encoder
from groundvae.guides.population import Population
from groundvae.models.greybox import AUXILIARY, GreyBox
from groundvae.models.latent import LatentSpec

UNCONSTRAINED = "physics_unconstrained"
UNMIXED = "unmixed"


class Guide(nn.Module):
    """An amortized posterior. Subclasses say how z_aux and the physics latents are drawn.

    The physics latents are drawn together, unconstrained, and carried onto the supports of
    their priors by bijectors: no draw ever lies outside.
    """

    OPTIONS: tuple[str, ...] = ()  # names of the options of the structure, beside its family's

    def __init__(self, encoder: Encoder, spec: LatentSpec, auxiliary: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.latents = spec
        self.auxiliary = auxiliary
        self.population = Population(spec.hyper)

    def prepare(self, batch: Batch) -> None:
        """Take the scales of the data from the training batch, before the first step."""
        self.encoder.prepare(batch)
        self.population.prepare(batch)

    @property
    def first(self) -> Guide:
        """The part that answers without the model, and is trained first; here, all of it."""
        return self

    def attach(self, model: GreyBox) -> None:
        """Called whenever guide and model are put together; most guides answer without it."""

    def forward(self, batch: Batch) -> None:
        self.population()
        canonical = self.encoder.read(batch)
        with pyro.plate("observation", len(batch), dim=-1):
            self.draw(canonical)

    @abstractmethod
    def draw(self, canonical: Tensor) -> None:
        """Sample ``z_aux`` and, through ``draw_physics``, the physics latents."""

    def physics_factor(self, batch: Batch) -> dist.TorchDistribution | None:
        """q(z_P | series in which the residual has no part); None where there is no such factor."""
        return None

    def draw_physics(self, unconstrained: dist.TorchDistribution) -> None:
        """Sample the physics latents together, then place each at its own site."""
        self.place_physics(pyro.sample(UNCONSTRAINED, unconstrained, infer={"is_auxiliary": True}))

    def place_physics(self, unconstrained: Tensor) -> None:
        """Carry (..., latent) onto the supports, each latent at a site of its own name."""
        values, log_det = self.latents.constrain(unconstrained)
        for name, log_density in zip(values, (-log_det).unbind(-1), strict=True):
            pyro.sample(name, dist.Delta(values[name], log_density=log_density))

    def log_prob(self, batch: Batch, latents: Mapping[str, Tensor]) -> Tensor:
        """Log q(latents | batch), (observation,), in the latents' own units."""
        with poutine.condition(data=self.sites(latents)):
            trace = poutine.trace(self).get_trace(batch)
        return log_prob_of(trace, batch)

    def place(self, value: Tensor) -> None:
        """Place all latents (..., latent), unconstrained, physics first, each at its own site."""
        self.place_physics(value[..., : len(self.latents)])
        if self.auxiliary:
            z = value[..., len(self.latents) :]
            pyro.sample(AUXILIARY, dist.Delta(z, event_dim=1))

    def flat(self, latents: Mapping[str, Tensor]) -> Tensor:
        """The inverse of ``place``: all latents, unconstrained, (..., latent)."""
        parts = [self.latents.unconstrain(latents)] if len(self.latents) else []
        parts += [latents[AUXILIARY]] if self.auxiliary else []
        return torch.cat(parts, -1)

    def sites(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values of this guide's random sites that give ``latents``."""
        known = {name: latents[name] for name in [AUXILIARY] if self.auxiliary}
        if len(self.latents):
            known[UNCONSTRAINED] = self.latents.unconstrain(latents)
        return known


def log_prob_of(trace: poutine.Trace, batch: Batch) -> Tensor:
    """Sum of a trace's log probabilities, with the observation plate kept: (..., observation).

    Of the sites of the observations alone: hyperparameters belong to none of them.
    """
    terms = [s["log_prob"] for s in _sites(trace) if _inside(s)]
    return sum(terms, torch.zeros(len(batch), dtype=batch.x.dtype, device=batch.x.device))


def shared_log_prob_of(trace: poutine.Trace) -> Tensor:
    """Sum of the log probabilities of hyperparameters, which all observations share."""
    terms = [s["log_prob"] for s in _sites(trace) if not _inside(s)]
    return sum(terms, torch.zeros(()))


def _sites(trace: poutine.Trace) -> list[Any]:
    trace.compute_log_prob()
    return [s for s in trace.nodes.values() if s["type"] == "sample" and "log_prob" in s]


def _inside(site: Any) -> bool:
    frames = site["cond_indep_stack"]
    return any(frame.name == "observation" for frame in frames)
