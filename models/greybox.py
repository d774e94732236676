"""The one Pyro program of all systems.

``z_P ~ prior``, ``z_aux ~ N(0, I)``, ``x ~ noise(F[f_P, f_A; z_P, z_aux])``.
Source: Takeishi & Kalousis (2021), section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.models.decoded import Decoded as Decoded
from groundvae.models.decoded import joined
from groundvae.models.decoded import returned as returned
from groundvae.models.decoded import site_value as site_value
from groundvae.models.latent import LatentSpec
from groundvae.models.noises import NOISES
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.noises.noise import Noise
from groundvae.models.precision import like
from groundvae.models.recipe import Recipe
from groundvae.models.residuals.residual import RESIDUALS, Residual, Seen
from groundvae.models.system import KINDS, Outcome, Push, System
from groundvae.models.trial import Trial
from groundvae.models.values import Values, broadcast
from groundvae.models.written import build, write
from groundvae.physics.errors import InputError

AUXILIARY = "z_aux"
OBSERVATION = "x"


class GreyBox(nn.Module):
    """A generative model part of whose latents are grounded by physics.

    Sites: every physics latent under its name, ``z_aux`` where a residual uses it, and ``x``;
    all inside the plate ``observation``. Hyperparameters of hierarchical priors are sites outside
    it, shared by all observations. Conditioned, counterfactual and predictive worlds are
    Pyro handlers on this program.

    Args:
        system: what is known.
        residual: what is added to it: one, several, or none. Each has its own part of ``z_aux``.
        noise: how what is observed differs from what the model gives.

    Raises:
        InputError: a residual acts on or sees what the system does not have.

    """

    def __init__(
        self,
        system: System,
        residual: Residual | Sequence[Residual] = (),
        noise: Noise | None = None,
    ) -> None:
        super().__init__()
        self.system = system
        self.residuals = nn.ModuleList([residual] if isinstance(residual, Residual) else residual)
        self.noise = Gaussian() if noise is None else noise
        for each in self.terms:
            each.attach(system)
        self._dynamic = any(name in system.sizes for r in self.terms for name in r.inside)
        if not system.physics and not len(self.residuals):
            raise InputError(f"{type(system).__name__} has no physics, expected a residual")

    @property
    def terms(self) -> list[Residual]:
        """The residuals, as what they are."""
        return cast("list[Residual]", list(self.residuals))

    @property
    def latents(self) -> LatentSpec:
        """The physics latents."""
        return self.system.latents

    @property
    def shared(self) -> tuple[str, ...]:
        """Names of the latents that have one value for all observations."""
        return tuple(z.name for z in self.latents if z.shared)

    def prepare(self, batch: Batch) -> None:
        """Take sizes and scales from the data, before a guide is built; the law is tried on them.

        Raises:
            InputError: an input that the data do not have, or a law whose answers will not do.

        """
        self._known(batch.inputs)
        self.system.attempt(Trial(self.latents, batch, self.noise.log_scale.dtype))
        self.noise.prepare(batch)
        for each in self.terms:
            each.prepare(batch)

    @property
    def _sizes(self) -> list[int]:
        return [each.auxiliary for each in self.terms]

    @property
    def auxiliary(self) -> int:
        """Dimension of ``z_aux``; 0 where no residual uses it."""
        return sum(self._sizes)

    @property
    def grey(self) -> bool:
        """Whether there is physics, and a residual that could be removed from it."""
        return self.system.physics and self.auxiliary > 0 and len(self.latents) > 0

    @property
    def latent_names(self) -> tuple[str, ...]:
        """Names of all latent sites, in the order of the program."""
        return self.latents.names + ((AUXILIARY,) if self.auxiliary else ())

    def with_priors(self, priors: Mapping[str, TorchDistribution]) -> GreyBox:
        """The model itself, with some of its priors swapped.

        Raises:
            InputError: no such latent, or a prior that leaves what makes sense to the physics.

        """
        self.system.latents = self.latents.with_priors(priors)
        return self

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
            decoded = self.decode(physics, auxiliary, batch.inputs, reduced=reduced)
            noise = self.noise.given(batch)(
                decoded.full,
                event_dim=self.system.event_dim,
                observed=batch.observed,
                times=batch.inputs.get("t"),
            )
            pyro.sample(OBSERVATION, noise, obs=batch.x)
        return decoded

    def _sample_auxiliary(self, like: Tensor) -> Tensor | None:
        if not self.auxiliary:
            return None
        zero = torch.zeros(self.auxiliary, dtype=like.dtype, device=like.device)
        value: Tensor = pyro.sample(AUXILIARY, dist.Normal(zero, 1.0).to_event(1))
        return value

    def decode(
        self,
        physics: Mapping[str, Tensor],
        auxiliary: Tensor | None,
        inputs: Mapping[str, Tensor],
        *,
        reduced: bool = True,
    ) -> Decoded:
        """Noiseless observations of latents of shape ``(...)`` and ``(..., auxiliary)``.

        ``reduced=False`` leaves out ``physics`` and ``partial`` where they cost time.

        Raises:
            NonFiniteError: naming the first sample that left the finite numbers, and when.

        """
        shapes = [value.shape for value in physics.values()]
        shapes += [] if auxiliary is None else [auxiliary.shape[:-1]]
        lead = broadcast(*shapes)
        parts = self._parts(lead)
        if len(parts) == 1:
            return self._decode(Values(physics, "latent"), auxiliary, inputs, lead, reduced)
        whole = {k: v.expand(lead) for k, v in physics.items()}
        z = None if auxiliary is None else auxiliary.expand(*lead, -1)
        decoded = [
            self._decode(
                Values({k: v[part] for k, v in whole.items()}, "latent"),
                None if z is None else z[part],
                inputs,
                torch.Size([len(range(lead[0])[part]), *lead[1:]]),
                reduced,
            )
            for part in parts
        ]
        return joined(decoded)

    def _parts(self, lead: torch.Size) -> list[slice]:
        """Slices of the first axis that are computed one after the other, to bound memory."""
        chunk = self.system.chunk
        if chunk is None or torch.is_grad_enabled() or not lead:
            return [slice(None)]
        size = max(1, chunk // max(1, lead[1:].numel()))
        return [slice(i, i + size) for i in range(0, lead[0], size)]

    def _decode(
        self,
        z: Values,
        auxiliary: Tensor | None,
        inputs: Mapping[str, Tensor],
        lead: torch.Size,
        reduced: bool,
    ) -> Decoded:
        known = self._known(inputs)
        seen = self._seen(z, auxiliary, known, self.system.stages(known))
        inside = [r.bind(s) for r, s in seen if r.inside]
        reduced = reduced and self.system.physics
        ablations = 2 if inside and reduced else 1
        outcomes = self.system.outcomes(z, known, inside, lead, ablations)
        full, alone = outcomes[0], outcomes[-1]
        added = [r for r in seen if r[0].outside]
        x_full = _observed(full, added)
        if not reduced:
            return Decoded(x_full)
        partial = {}
        if added and self._dynamic:
            partial = {"observation": _observed(alone, added), "dynamics": full.observed}
        return Decoded(x_full, alone.observed, partial)

    def _known(self, inputs: Mapping[str, Tensor]) -> Values:
        """The inputs, if all are there that the law declares."""
        missing = [name for name in self.system.inputs if name not in inputs]
        if missing:
            raise InputError(
                f"the data have no input {missing[0]!r}, which {type(self.system).__name__} "
                f"declares ({self.system.inputs[missing[0]].meaning})"
            )
        return Values(inputs, "input")

    def bound(
        self, z: Values, auxiliary: Tensor | None, inputs: Values, stages: Tensor | None
    ) -> list[Push]:
        """The residuals inside the law, bound to latents (...) and ``auxiliary`` (..., A)."""
        return [r.bind(s) for r, s in self._seen(z, auxiliary, inputs, stages) if r.inside]

    def _seen(
        self, z: Values, auxiliary: Tensor | None, inputs: Values, stages: Tensor | None
    ) -> list[tuple[Residual, Seen]]:
        """What each residual is bound to: its own part of ``z_aux`` among it."""
        residuals = self.terms
        if not residuals or (auxiliary is None and self.auxiliary):
            return []
        if auxiliary is None:  # none of them has a part
            lead = broadcast(*(value.shape for value in z.values()))
            auxiliary = next(iter(z.values())).new_zeros(*lead, 0)
        parts = auxiliary.split(self._sizes, -1)
        return [
            (each, Seen(part, z, inputs, self._units(each, z), stages))
            for each, part in zip(residuals, parts, strict=True)
        ]

    def _units(self, residual: Residual, z: Values) -> Tensor | float:
        if not residual.units:
            return 1.0
        found: Tensor = getattr(self.system, residual.units)(z)
        return found

    def recipe(self) -> Recipe:
        """How this model is fitted where nothing else is said."""
        return self.terms[0].recipe if self.terms else self.noise.recipe

    def written(self) -> dict[str, Any]:
        """The whole model as plain values, from which ``rebuilt`` makes it again."""
        return {
            "system": write(self.system),
            "residuals": [write(each) for each in self.terms],
            "noise": write(self.noise),
        }

    @classmethod
    def rebuilt(cls, values: Mapping[str, Any]) -> GreyBox:
        """The model that was written as ``values``, with fresh weights.

        Raises:
            InputError: a kind that is not known, or arguments that it does not take.

        """
        system = build(values["system"], KINDS.values())
        residuals = [build(each, RESIDUALS.values()) for each in values["residuals"]]
        return cls(system, residuals, build(values["noise"], NOISES.values()))

    def log_prior(self) -> Tensor | float:
        """Log density (), nats, of learned weights that have a prior of their own."""
        parts = [self.system.log_prior(), *(each.log_prior() for each in self.terms)]
        return sum(parts[1:], parts[0])


def _observed(outcome: Outcome, added: Sequence[tuple[Residual, Seen]]) -> Tensor:
    """What is observed of an outcome, with the residuals on the observation."""
    total = outcome.observed
    for residual, seen in added:
        total = total + residual.add(replace(seen, inputs=outcome.inputs), outcome.states)
    return total
