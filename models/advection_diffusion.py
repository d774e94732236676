"""Advection-diffusion as a grey box: diffusion is known, a residual in the PDE does the rest.

``y_t = diffusion * y_ss + residual(y, z)`` from ``y(0, s) = magnitude * sin(pi s / s_max)``.
The magnitude is a latent, not read off the first sample: that is observed with noise, which an
input would pass for certainty. Source: Takeishi & Kalousis (2021), section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from groundvae.data.advection_diffusion import POINTS, SPACING
from groundvae.data.errors import InputError
from groundvae.models.latent import Latent, LatentSpec
from groundvae.models.network import FourierTime, perceptron
from groundvae.models.system import Decoded, System, from_start, gate
from groundvae.physics.advection_diffusion import Rate, diffusing, half_sine, neighbours, total
from groundvae.physics.exponential import Exponential
from groundvae.physics.solver import Solver, solve

DIFFUSION = Latent(
    "diffusion",
    dist.Uniform(0.005, 0.2),
    "m^2/s",
    "diffusion coefficient",
    constraints.positive,
)
MAGNITUDE = Latent(
    "magnitude",
    dist.Uniform(0.25, 2.0),
    "1",
    "height of the initial profile, half a sine along the line",
    constraints.positive,
)


class StencilResidual(nn.Module):
    """A push from each point's two neighbours and itself; a network of z sets the weights.

    The same everywhere on the line, and linear in the state. ``odd`` lets the weights be
    ``(-w, 0, w)`` only: such a stencil cannot imitate diffusion, which is even, nor decay, and
    that is what identifies the physics. A free one has all three weights of its own.
    """

    def __init__(
        self, auxiliary: int, *, odd: bool = True, scale: float = 1.0, width: int = 64
    ) -> None:
        super().__init__()
        self.auxiliary = auxiliary
        self.odd = odd
        self.scale = scale  # 1/s
        self.weights = perceptron(auxiliary, 1 if odd else 3, width=width, start=0.1)

    def bind(self, auxiliary: Tensor, gate: Tensor) -> Rate:
        """The push on y for ``auxiliary`` (..., auxiliary); ``gate`` (world, ...) switches it."""
        weights = gate.unsqueeze(-1) * self.scale * self.weights(auxiliary)
        if self.odd:
            return lambda y: weights * _difference(y)
        left, centre, right = weights.split(1, dim=-1)

        def push(y: Tensor) -> Tensor:
            before, after = neighbours(y)
            return left * before + centre * y + right * after

        return push


def _difference(y: Tensor) -> Tensor:
    before, after = neighbours(y)
    return after - before


class ProfileDecoder(nn.Module):
    """No dynamics at all: a perceptron of z and of Fourier features of time gives the profile."""

    def __init__(self, auxiliary: int, points: int, *, width: int = 128) -> None:
        super().__init__()
        self.auxiliary = auxiliary
        self.time = FourierTime(pairs=4, highest=1.0)
        self.network = perceptron(auxiliary + self.time.features, points, width=width, start=1.0)

    def forward(self, auxiliary: Tensor, times: Tensor) -> Tensor:
        """Profiles (..., time, space)."""
        lead = (*auxiliary.shape[:-1], len(times), -1)
        features = [auxiliary.unsqueeze(-2).expand(lead), self.time(times).expand(lead)]
        profiles: Tensor = self.network(torch.cat(features, -1))
        return profiles


class AdvectionDiffusion(System):
    """A line of points with any of: known diffusion, a residual in the PDE; or neither.

    Args:
        physics: whether diffusion is known; without it the residual has to be all of the PDE.
        dynamics: adds to y_t (1/s).
        direct: instead of any dynamics, decodes the field at once.
        solver: exact by default; a residual that is not linear in y needs ``RK4(0.02)``.

    """

    event_dim = 2
    channels = POINTS

    def __init__(
        self,
        *,
        physics: bool = True,
        dynamics: StencilResidual | None = None,
        direct: ProfileDecoder | None = None,
        solver: Solver | None = None,
    ) -> None:
        super().__init__()
        if (direct is None) == (not physics and dynamics is None):
            raise InputError("expected either dynamics (physics, a residual or both) or direct")
        self.grounded = physics
        self.dynamics = dynamics
        self.direct = direct
        self.solver = Exponential() if solver is None else solver
        self.latents = LatentSpec((DIFFUSION,) * physics + (MAGNITUDE,) * (direct is None))
        user = direct or dynamics
        self.auxiliary = user.auxiliary if user else 0

    def decode(
        self,
        physics: Mapping[str, Tensor],
        auxiliary: Tensor | None,
        inputs: Mapping[str, Tensor],
        *,
        reduced: bool = True,
    ) -> Decoded:
        times = inputs["t"]
        if self.direct is not None:
            assert auxiliary is not None
            return Decoded(self.direct(auxiliary, times))
        worlds = 1 + (reduced and self.grounded and self.dynamics is not None)
        fields = self._solve(physics, auxiliary, times, worlds)
        return Decoded(fields[0], fields[-1] if self.grounded and reduced else None)

    def _solve(
        self, physics: Mapping[str, Tensor], auxiliary: Tensor | None, times: Tensor, worlds: int
    ) -> Tensor:
        """Fields (world, ..., time, space): the first with the residual, the second without."""
        magnitude = physics["magnitude"]
        start = half_sine(magnitude.expand(worlds, *magnitude.shape), POINTS)
        rates: list[Rate] = []
        if self.grounded:
            rates.append(diffusing(physics["diffusion"], SPACING))
        if self.dynamics is not None and auxiliary is not None:
            rates.append(self.dynamics.bind(auxiliary, gate(worlds, magnitude)))
        released = from_start(times, "the initial time")
        return solve(total(rates), start, released, self.solver)[..., -len(times) :, :]


AUXILIARY = 4


def _hybrid() -> AdvectionDiffusion:
    return AdvectionDiffusion(dynamics=StencilResidual(AUXILIARY))


VARIANTS: Mapping[str, Callable[[], AdvectionDiffusion]] = {
    "nn-only": lambda: AdvectionDiffusion(
        physics=False, direct=ProfileDecoder(AUXILIARY + 2, POINTS)
    ),
    "nn-solver": lambda: AdvectionDiffusion(
        physics=False, dynamics=StencilResidual(AUXILIARY + 1, odd=False, scale=10.0)
    ),
    "physics-only": lambda: AdvectionDiffusion(),
    "hybrid": _hybrid,
    "hybrid-reg": _hybrid,
}
NOISE, RATE_MULTIPLIER = 0.02, 30.0  # where the learned noise scale starts, and its rate_multiplier
OPTIONS: Mapping[str, Any] = {
    "steps": 3000,
    "batch_size": 100,
    "learning_rate": 4e-3,
    "warmup": 0.3,
    "sleep": 0.0,
    "calibrate": 0.0,
}
