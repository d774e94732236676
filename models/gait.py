"""Human gait as a grey box: a learned Hamiltonian system moves the joints, a residual corrects.

``q' = dH/dp, p' = -dH/dq`` with H learned and (q, p) at t = 0 inferred; the angles are a linear
map of q plus a waveform that z_aux sets. Source: Takeishi & Kalousis (2021), section 4.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional

from groundvae.data.gait import JOINTS
from groundvae.models.latent import Latent, LatentSpec
from groundvae.models.network import FourierTime, perceptron
from groundvae.models.system import Decoded, System
from groundvae.models.waveform import Waveform
from groundvae.physics.hamiltonian import Separable, hermite
from groundvae.physics.solver import Leapfrog, Midpoint, Solver, solve

DIMENSION = 3  # of q
STEP = 0.04  # s, of the mechanics; the samples in between are interpolated
STRIDE = 2.0  # s, of the time axis on which a stride is laid out


def _latents() -> tuple[Latent, ...]:
    return tuple(
        Latent(
            f"{letter}{i + 1}",
            dist.Normal(0.0, 1.0),
            "1",
            f"generalized {what} {i + 1} at the start of the stride",
            constraints.real,
        )
        for letter, what in (("q", "position"), ("p", "momentum"))
        for i in range(DIMENSION)
    )


class LearnedHamiltonian(nn.Module):
    """``H = 1/2 sum_i rate_i (p_i^2 + q_i^2) + V(q)``, V a perceptron of one hidden layer.

    Quadratic in the momenta, so separable: an explicit symplectic solver keeps it. It begins
    as oscillators at the first harmonics of a stride. The gradient is written out: it is asked
    for at every step, and automatic differentiation twice over would cost several times as much.
    """

    def __init__(self, dimension: int = DIMENSION, *, width: int = 128) -> None:
        super().__init__()
        harmonics = 2 * math.pi / STRIDE * torch.arange(1.0, dimension + 1)
        self.log_rate = nn.Parameter(torch.log(harmonics))  # rad/s
        self.hidden = nn.Linear(dimension, width)
        self.height = nn.Parameter(0.1 * torch.randn(width) / math.sqrt(width))

    def forward(self, state: Tensor) -> Tensor:
        """H (...) of states (..., 2 dimension), 1/s."""
        q, p = state.chunk(2, dim=-1)
        quadratic = 0.5 * (self.log_rate.exp() * (q**2 + p**2)).sum(-1)
        return quadratic + functional.softplus(self.hidden(q)) @ self.height

    def field(self) -> Separable:
        """Hamilton's equations."""
        rate = self.log_rate.exp()
        pull = -(self.height[:, None] * self.hidden.weight).T.contiguous()

        def force(q: Tensor) -> Tensor:
            return functional.linear(torch.sigmoid(self.hidden(q)), pull) - rate * q

        return Separable(lambda p: rate * p, force)


class NeuralField(nn.Module):
    """No physics: any law of motion of a state whose start, like the law, comes from z."""

    def __init__(self, auxiliary: int, *, width: int = 64) -> None:
        super().__init__()
        self.auxiliary = auxiliary
        self.start = nn.Linear(auxiliary, 2 * DIMENSION)
        self.network = perceptron(auxiliary + 2 * DIMENSION, 2 * DIMENSION, width=width, start=1.0)

    def bind(self, auxiliary: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """The law for ``auxiliary`` (..., auxiliary): d state / dt, 1/s."""

        def field(time: Tensor, state: Tensor) -> Tensor:
            pushed: Tensor = self.network(torch.cat([state, auxiliary], -1))
            return 2 * math.pi / STRIDE * pushed

        return field


class Gait(System):
    """Three joint angles over a stride: learned mechanics, a waveform residual, or both.

    Args:
        hamiltonian: the mechanics; None has none.
        observation: adds to the angles (rad).
        neural: a law of motion that is not mechanics, in place of the Hamiltonian.
        solver: default ``Leapfrog``, which keeps H; ``Midpoint(0.02)`` for ``neural``.

    """

    event_dim = 2
    channels = len(JOINTS)

    def __init__(
        self,
        *,
        hamiltonian: LearnedHamiltonian | None = None,
        observation: Waveform | None = None,
        neural: NeuralField | None = None,
        solver: Solver | None = None,
    ) -> None:
        super().__init__()
        self.hamiltonian = hamiltonian
        self.observation = observation
        self.neural = neural
        self.grounded = hamiltonian is not None
        self.solver = solver or (Midpoint(0.02) if neural else Leapfrog(STEP))
        self.latents = LatentSpec(_latents() if self.grounded else ())
        user = neural or observation
        self.auxiliary = user.auxiliary if user else 0
        if self.grounded or neural:
            self.joints = nn.Linear(DIMENSION, len(JOINTS))
            with torch.no_grad():
                self.joints.weight.mul_(0.5)
                self.joints.bias.zero_()

    def decode(
        self,
        physics: Mapping[str, Tensor],
        auxiliary: Tensor | None,
        inputs: Mapping[str, Tensor],
        *,
        reduced: bool = True,
    ) -> Decoded:
        times = inputs["t"]
        if self.neural is not None and auxiliary is not None:
            start = self.neural.start(auxiliary)
            path = solve(self.neural.bind(auxiliary), start, times, self.solver)
            return Decoded(self.joints(path[..., :DIMENSION]))
        alone = None
        if self.hamiltonian is not None:
            alone = self.joints(self.path(physics, times)[..., :DIMENSION])
        if self.observation is None or auxiliary is None:
            assert alone is not None
            return Decoded(alone, alone)
        residual = self.observation(auxiliary, times)
        return Decoded(residual if alone is None else alone + residual, alone)

    def log_prior(self) -> Tensor | float:
        return 0.0 if self.observation is None else self.observation.log_prior()

    def path(self, physics: Mapping[str, Tensor], times: Tensor) -> Tensor:
        """(q, p) over time, (..., time, 2 dimension), from the initial state at ``times[0]``."""
        assert self.hamiltonian is not None
        start = torch.stack([physics[name] for name in self.latents.names], -1)
        field = self.hamiltonian.field()
        steps = max(1, math.ceil(float(times[-1] - times[0]) / STEP - 1e-3))
        grid = times[0] + STEP * torch.arange(steps + 1, dtype=times.dtype, device=times.device)
        states = solve(field, start, grid, self.solver)
        return hermite(times, grid, states, field(grid, states))


AUXILIARY = 15


def _waveform(auxiliary: int) -> Waveform:
    return Waveform(auxiliary, len(JOINTS), FourierTime(40, 10.0), length=2.0, spread=0.06)


def _hybrid() -> Gait:
    return Gait(hamiltonian=LearnedHamiltonian(), observation=_waveform(AUXILIARY))


VARIANTS: Mapping[str, Callable[[], Gait]] = {
    "nn-only": lambda: Gait(observation=_waveform(AUXILIARY + 2 * DIMENSION)),
    "nn-solver": lambda: Gait(neural=NeuralField(AUXILIARY + 2 * DIMENSION)),
    "physics-only": lambda: Gait(hamiltonian=LearnedHamiltonian()),
    "hybrid": _hybrid,
    "hybrid-reg": _hybrid,
}
NOISE, RATE_MULTIPLIER = (
    0.1,
    5.0,
)  # where the learned noise scale starts, rad, and its rate_multiplier
OPTIONS: Mapping[str, Any] = {
    "steps": 1000,
    "batch_size": 100,
    "learning_rate": 4e-3,
    "warmup": 0.3,
    "sleep": 0.0,
    "calibrate": 0.0,
}
WEIGHTS: Mapping[str, float] = {"hybrid_simulation": 5.0}  # 400 strides are few for a guide
