"""Solvers: objects that carry a state along a vector field, on any grid of times.

A field is a function ``field(t, state) -> d state / dt`` of a scalar time (s) and a state of
shape ``(..., dimension)``; ``ParallelAdjoint`` also asks for many times at once. A solver is a
small frozen object that is called with a field, the state at ``times[0]`` and the times; it
returns the states, ``(time, ..., dimension)``.

The fixed-step solvers treat every series alike, whatever its batch-mates are: training uses
these. ``Dopri5`` adapts its step to one error norm over the whole batch, so a series' answer
depends (within the tolerances) on its batch-mates: it is for references.

Fixed-step solvers end a step on every requested time and put as many equal steps between two
of them as ``step`` asks for; nothing is interpolated, so uneven grids cost no accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor
from torchdiffeq import odeint

from groundvae.physics.adjoint import linked
from groundvae.physics.exponential import Exponential
from groundvae.physics.hamiltonian import Separable

Field = Callable[[Tensor, Tensor], Tensor]


class NonFiniteError(ArithmeticError):
    """A computation left the finite numbers; the message names the quantity and the sample."""


def step_grid(times: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Refine ``times`` (time,), s, so that no step is longer than ``step`` (s).

    Returns the grid and where in it the requested times stand.

    >>> step_grid(torch.tensor([0.0, 0.1, 0.15]), 0.05)
    (tensor([0.0000, 0.0500, 0.1000, 0.1500]), tensor([0, 2, 3]))
    """
    gaps = torch.diff(times).tolist()
    # The slack keeps a gap of 0.05 stored in float32 from being cut in two by a step of 0.05.
    counts = [max(1, math.ceil(gap / step - 1e-3)) for gap in gaps]
    pieces = [
        start + gap * torch.arange(n, dtype=times.dtype, device=times.device) / n
        for start, gap, n in zip(times[:-1], gaps, counts, strict=True)
    ]
    return torch.cat([*pieces, times[-1:]]), torch.tensor([0, *counts]).cumsum(0)


@dataclass(frozen=True)
class FixedStep:
    """A torchdiffeq fixed-step method; ``step`` is the longest step allowed, s."""

    step: float = 0.05
    method: ClassVar[str]
    order: ClassVar[int]
    stages: ClassVar[tuple[float, ...]]  # where in a step the field is evaluated, 0 .. 1

    def __call__(self, field: Field, state: Tensor, times: Tensor) -> Tensor:
        if times.numel() == 1:
            return state.unsqueeze(0)
        grid, _ = step_grid(times, self.step)
        options = {"grid_constructor": lambda *_: grid}
        states: Tensor = odeint(field, state, times, method=self.method, options=options)
        return states

    def stage_times(self, times: Tensor) -> Tensor:
        """All times at which the field will be evaluated, ascending, (stage,), s."""
        grid, _ = step_grid(times, self.step)
        if grid.numel() == 1:
            return grid
        within = torch.tensor(self.stages, dtype=grid.dtype, device=grid.device)
        stages = grid[:-1, None] + torch.diff(grid)[:, None] * within
        # A step that ends where the next begins counts once.
        inner = stages[:, within < 1].reshape(-1)
        return torch.cat([inner, grid[-1:]]) if 1.0 in self.stages else inner


@dataclass(frozen=True)
class Euler(FixedStep):
    """Explicit Euler, first order, one evaluation a step (what the public code uses)."""

    method = "euler"
    order = 1
    stages = (0.0,)


@dataclass(frozen=True)
class Midpoint(FixedStep):
    """Explicit midpoint, second order, two evaluations a step."""

    method = "midpoint"
    order = 2
    stages = (0.0, 0.5)


@dataclass(frozen=True)
class RK4(FixedStep):
    """Runge-Kutta, 3/8 rule, fourth order, four evaluations a step.

    The pendulum's default, by accuracy per second: on the forced pendulum at a step of 0.05 s
    its mean error is 2.4e-4 rad, in 42 ms for 200 series with gradients, where Leapfrog has
    1.5e-2 rad in 26 ms, Midpoint 3.4e-2 rad in 23 ms and Euler 0.98 rad in 17 ms. Leapfrog at
    0.025 s has 3.5e-3 rad in 65 ms. The noise is 1e-2 rad. (benchmarks/solvers.py, one thread.)
    """

    method = "rk4"
    order = 4
    stages = (0.0, 1 / 3, 2 / 3, 1.0)


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
        if isinstance(field, Separable):
            return _kick_drift(field, state, grid)[requested]
        position, momentum = state.chunk(2, dim=-1)
        force = field(grid[0], state).chunk(2, dim=-1)[1]
        states = [state]
        for start, end in pairwise(grid):
            h = end - start
            half = momentum + 0.5 * h * force
            velocity = field(start, torch.cat([position, half], dim=-1)).chunk(2, dim=-1)[0]
            position = position + h * velocity
            predicted = momentum + h * force
            force = field(end, torch.cat([position, predicted], dim=-1)).chunk(2, dim=-1)[1]
            momentum = half + 0.5 * h * force
            states.append(torch.cat([position, momentum], dim=-1))
        return torch.stack(states)[requested]

    def stage_times(self, times: Tensor) -> Tensor:
        """All times at which the field will be evaluated, ascending, (stage,), s."""
        return step_grid(times, self.step)[0]


def _kick_drift(field: Separable, state: Tensor, grid: Tensor) -> Tensor:
    """The same steps with one force and one velocity each."""
    position, momentum = state.chunk(2, dim=-1)
    force = field.force(position)
    states = [state]
    for h in torch.diff(grid):
        half = momentum + 0.5 * h * force
        position = position + h * field.velocity(half)
        force = field.force(position)
        momentum = half + 0.5 * h * force
        states.append(torch.cat([position, momentum], dim=-1))
    return torch.stack(states)


@dataclass(frozen=True)
class Dopri5:
    """torchdiffeq's adaptive Dormand-Prince 5(4); one error norm over the whole batch."""

    rtol: float = 1e-7
    atol: float = 1e-9

    def __call__(self, field: Field, state: Tensor, times: Tensor) -> Tensor:
        if times.numel() == 1:
            return state.unsqueeze(0)
        states: Tensor = odeint(
            field, state, times, method="dopri5", rtol=self.rtol, atol=self.atol
        )
        return states

    def stage_times(self, times: Tensor) -> None:
        """Not known before the solve."""


@dataclass(frozen=True)
class ParallelAdjoint:
    """A fixed-step solver whose gradient is computed for all steps at once.

    Path and gradient are those of ``solver``, in about half the time where a state is small
    (for each of its components there is one backward pass) and a step costs overhead, not
    arithmetic. The field is then also asked for many times at once, ``(step, 1, ..., 1)``, with
    states ``(step, ..., dimension)``: it must not need its time as a number, nor mix series. There
    is no second derivative. ``Leapfrog`` hands a force from one step to the next: not with it.
    """

    solver: FixedStep = RK4()

    def __call__(self, field: Field, state: Tensor, times: Tensor) -> Tensor:
        solver = self.solver
        needed = torch.is_grad_enabled() and (
            state.requires_grad or field(times[0], state).requires_grad
        )
        if not needed or times.numel() == 1:
            return solver(field, state, times)
        grid, requested = step_grid(times, solver.step)
        with torch.no_grad():
            path = solver(field, state, grid)
        start, length = (
            each.view(-1, *[1] * (state.dim() - 1)) for each in (grid[:-1], torch.diff(grid))
        )

        def one_step(share: Tensor, at: Tensor) -> Tensor:
            return length.unsqueeze(-1) * field(start + share * length, at)

        def advance(at: Tensor) -> Tensor:
            return replace(solver, step=1.0)(one_step, at, grid.new_tensor([0.0, 1.0]))[-1]

        return linked(state, path, advance)[requested]

    def stage_times(self, times: Tensor) -> Tensor:
        """All times at which the field will be evaluated, ascending, (stage,), s."""
        return self.solver.stage_times(times)


Solver = Euler | Midpoint | RK4 | Leapfrog | ParallelAdjoint | Dopri5 | Exponential


def solve(field: Field, state: Tensor, times: Tensor, solver: Solver) -> Tensor:
    """States of shape ``(..., time, dimension)``; refuses a result that is not finite.

    Raises:
        NonFiniteError: naming the first sample that left the finite numbers, and when.

    """
    states = solver(field, state, times)
    if not torch.isfinite(states[-1]).all():
        finite = torch.isfinite(states).all(dim=-1).reshape(len(times), -1)
        sample = int((~finite).any(dim=0).nonzero()[0])
        when = float(times[int((~finite[:, sample]).nonzero()[0])])
        raise NonFiniteError(
            f"the solution of sample {sample} is not finite from t = {when:g} s on; "
            f"use a smaller step than {solver}"
        )
    return torch.movedim(states, 0, -2)
