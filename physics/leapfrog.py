"""The symplectic solver, and one that interpolates between its steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from groundvae.physics.clock import Field, pick, step_grid
from groundvae.physics.hamiltonian import Separable, hermite


@dataclass(frozen=True)
class Leapfrog:
    """Velocity Verlet, second order, symplectic, two evaluations of the field a step.

    The state is ``(position, momentum)``, the two halves of its last dimension, and
    ``d position / dt`` must not depend on the position. Forces that depend on the momentum
    (friction) keep second order through a predicted end momentum, but are not symplectic.
    Source: Hairer, Lubich & Wanner, Geometric Numerical Integration (2006), section I.1.4.
    """

    step: float = 0.05
    order: ClassVar[int] = 2

    def __call__(self, field: Field, state: Tensor, times: Tensor) -> Tensor:
        grid, requested = step_grid(times, self.step)
        return pick(self._path(field, state, grid), requested)

    def _path(self, field: Field, state: Tensor, grid: Tensor) -> Tensor:
        """States on a grid (step + 1,), or on grids (step + 1, observation)."""
        if isinstance(field, Separable):
            return _kick_drift(field, state, grid)
        own = grid.dim() == 2
        position, momentum = state.chunk(2, dim=-1)
        force = field(grid[0], state).chunk(2, dim=-1)[1]
        states = [state]
        for start, end in pairwise(grid):
            h = (end - start).unsqueeze(-1) if own else end - start
            half = momentum + 0.5 * h * force
            velocity = field(start, torch.cat([position, half], dim=-1)).chunk(2, dim=-1)[0]
            position = position + h * velocity
            predicted = momentum + h * force
            force = field(end, torch.cat([position, predicted], dim=-1)).chunk(2, dim=-1)[1]
            momentum = half + 0.5 * h * force
            states.append(torch.cat([position, momentum], dim=-1))
        return torch.stack(states)

    def stage_times(self, times: Tensor) -> Tensor:
        """All times at which the field will be evaluated, ascending, s.

        (stage,), or for times (observation, time) (stage, observation).
        """
        return step_grid(times, self.step)[0]


def _kick_drift(field: Separable, state: Tensor, grid: Tensor) -> Tensor:
    """The same steps with one force and one velocity each."""
    position, momentum = state.chunk(2, dim=-1)
    force = field.force(position)
    states = [state]
    lengths = torch.diff(grid, dim=0)
    for h in lengths if grid.dim() == 1 else lengths.unsqueeze(-1):
        half = momentum + 0.5 * h * force
        position = position + h * field.velocity(half)
        force = field.force(position)
        momentum = half + 0.5 * h * force
        states.append(torch.cat([position, momentum], dim=-1))
    return torch.stack(states)


@dataclass(frozen=True)
class Interpolated:
    """Solves on even steps of its own, and interpolates between them by cubic polynomials.

    For laws that are smoother than the samples are dense; the field must not know the time.
    """

    solver: Leapfrog = Leapfrog()

    def __call__(self, field: Field, state: Tensor, times: Tensor) -> Tensor:
        """States (time, ..., dimension) at ``times``, s, (time,) or (observation, time)."""
        step = self.solver.step
        if times.dim() == 2:  # the field does not know the time: all may start at once
            times = times - times[:, :1]
        first, last = times.min(), times.max()
        steps = max(1, math.ceil(float(last - first) / step - 1e-3))
        grid = first + step * torch.arange(steps + 1, dtype=times.dtype, device=times.device)
        states = self.solver(field, state, grid).movedim(0, -2)
        return hermite(times, grid, states, field(grid, states)).movedim(-2, 0)

    def stage_times(self, times: Tensor) -> None:
        """The field is not asked at times that matter."""
