"""The pendulum as a grey box: a frictionless pendulum and a residual for force and friction.

``theta'' = -omega^2 sin(theta) + residual(t, theta', z)``, released at rest at ``theta0`` at
t = 0. The initial angle is a latent, not an input: it is observed with noise, and an input
would let that noise pass for certainty. Source: Takeishi & Kalousis (2021), section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from groundvae.data.errors import InputError
from groundvae.models.latent import Latent, LatentSpec
from groundvae.models.network import FourierTime
from groundvae.models.residual import BoundResidual, HarmonicResidual, NeuralResidual
from groundvae.models.system import Decoded, System, from_start, gate
from groundvae.models.waveform import Waveform
from groundvae.physics.pendulum import gravity
from groundvae.physics.solver import Midpoint, ParallelAdjoint, Solver, solve

OMEGA = Latent(
    "omega",
    dist.Uniform(0.392, 3.53),
    "rad/s",
    "natural angular frequency of small swings, sqrt(g / l)",
    constraints.positive,
)
THETA0 = Latent(
    "theta0",
    dist.Uniform(-2.0, 2.0),
    "rad",
    "angle at which the pendulum is released",
    constraints.interval(-torch.pi, torch.pi),
)

REFERENCE_OMEGA = 2.0  # rad/s, the middle of the prior: there a residual's stiffness is 1

DynamicsResidual = HarmonicResidual | NeuralResidual


class Pendulum(System):
    """A pendulum with any of: physics, a residual in the dynamics, one on the observation.

    Args:
        physics: whether gravity is known; without it the residual has to be all of the force.
        dynamics: adds to the angular acceleration (rad/s^2).
        observation: adds to the angle that is observed (rad).
        free: gives the whole angle in their place (rad).
        solver: default by measurement, see ``benchmarks/solvers.py``.

    """

    event_dim = 1

    def __init__(
        self,
        *,
        physics: bool = True,
        dynamics: DynamicsResidual | None = None,
        observation: NeuralResidual | None = None,
        free: Waveform | None = None,
        solver: Solver | None = None,
    ) -> None:
        super().__init__()
        self.grounded = physics
        self.dynamics = dynamics
        self.observation = observation
        self.free = free
        self.solver = ParallelAdjoint() if solver is None else solver
        if (free is None) != (physics or dynamics is not None):
            raise InputError("expected either physics or a residual in the dynamics, or free")
        used = [OMEGA] * physics + [THETA0] * (free is None)
        self.latents = LatentSpec(tuple(used))
        sizes = {
            r.auxiliary for r in (dynamics, observation, free) if r is not None and r.auxiliary
        }
        if len(sizes) > 1:
            raise InputError(f"the residuals see z_aux of sizes {sorted(sizes)}, expected one")
        self.auxiliary = sizes.pop() if sizes else 0

    def decode(
        self,
        physics: Mapping[str, Tensor],
        auxiliary: Tensor | None,
        inputs: Mapping[str, Tensor],
        *,
        reduced: bool = True,
    ) -> Decoded:
        times = inputs["t"]
        if self.free is not None:
            assert auxiliary is not None
            return Decoded(self.free(auxiliary, times).squeeze(-1))
        residual = self.dynamics is not None and auxiliary is not None
        worlds = 1 + (reduced and residual and self.grounded)
        paths = self._solve(physics, auxiliary, times, worlds)
        full = self._observe(paths[0], auxiliary, times)
        if not (self.grounded and reduced):
            return Decoded(full)
        alone = paths[-1]  # without a residual in the dynamics this is the same path
        partial = {}
        if self.observation is not None:
            partial["observation"] = self._observe(alone, auxiliary, times)
            partial["dynamics"] = paths[0][..., 0]
        return Decoded(full, alone[..., 0], partial)

    def log_prior(self) -> Tensor | float:
        return 0.0 if self.free is None else self.free.log_prior()

    def _observe(self, path: Tensor, auxiliary: Tensor | None, times: Tensor) -> Tensor:
        if self.observation is None:
            return path[..., 0]
        seen = path[..., :0] if auxiliary is None else auxiliary.unsqueeze(-2)
        if not self.observation.auxiliary:
            seen = path[..., :0]
        return path[..., 0] + self.observation(seen, times, path)

    def _solve(
        self, physics: Mapping[str, Tensor], auxiliary: Tensor | None, times: Tensor, worlds: int
    ) -> Tensor:
        """Paths (world, ..., time, 2): the first with the residual, the second without it.

        Both are one solve: at these sizes a step costs the same for twice as many series.
        """
        theta0 = physics["theta0"].expand(worlds, *physics["theta0"].shape)
        start = torch.stack([theta0, torch.zeros_like(theta0)], -1)
        released = from_start(times, "the release")
        forces: list[BoundResidual] = []
        if self.grounded:
            pull = gravity(physics["omega"])
            forces.append(lambda time, states: pull(states[0]))
        if self.dynamics is not None and auxiliary is not None:
            forces.append(self._bind(self.dynamics, physics, auxiliary, released, worlds))

        def field(time: Tensor, state: Tensor) -> Tensor:
            states = state.unbind(-1)  # once: every indexing costs a pass of its own backwards
            total = forces[0](time, states)
            for force in forces[1:]:
                total = total + force(time, states)
            return torch.stack([states[1], total], -1)

        paths = solve(field, start, released, self.solver)
        return paths[..., -len(times) :, :]

    def _bind(
        self,
        residual: DynamicsResidual,
        physics: Mapping[str, Tensor],
        auxiliary: Tensor,
        times: Tensor,
        worlds: int,
    ) -> BoundResidual:
        """Forces come in units of gravity's: twice the omega means four times the force."""
        stiffness = (physics["omega"] / REFERENCE_OMEGA) ** 2 if self.grounded else 1.0
        stages = self.solver.stage_times(times)
        open_first = gate(worlds, auxiliary[..., 0])
        return residual.bind(auxiliary, stages, stiffness=stiffness, gate=open_first)


AUXILIARY = 4


def _hybrid() -> Pendulum:
    """Gravity and a residual that cannot imitate it.

    A residual on the observation is left out on purpose: measured, it improves the
    reconstruction little and takes over part of the physics (docs/pendulum.md).
    """
    return Pendulum(dynamics=HarmonicResidual(AUXILIARY))


VARIANTS: Mapping[str, Callable[[], Pendulum]] = {
    "nn-only": lambda: Pendulum(
        physics=False,
        free=Waveform(AUXILIARY + 2, 1, FourierTime(40, 8.0), length=1.5, spread=1.0),
    ),
    "nn-solver": lambda: Pendulum(
        physics=False,
        dynamics=NeuralResidual(
            AUXILIARY + 1, states=(0, 1), time=FourierTime(), width=64, scale=10.0
        ),
        # As in the public code; without it training stays on a plateau at twice the error.
        observation=NeuralResidual(
            AUXILIARY + 1, states=(0, 1), time=FourierTime(40, 8.0), width=128
        ),
        solver=Midpoint(0.05),  # no law to be true to: half the time
    ),
    "physics-only": lambda: Pendulum(),
    "hybrid": _hybrid,
    "hybrid-reg": _hybrid,
}
NOISE = 0.1  # rad, where the learned noise scale starts
AWAKE: Mapping[str, Any] = {"steps": 1600, "learning_rate": 4e-3, "warmup": 0.6, "calibrate": 0.2}
