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

Times may also be of each observation's own, ``(observation, time)``, with a state ``(...,
observation, dimension)``. The field is then asked at a time of each observation's own,
``(observation,)``, which broadcasts against ``state[..., 0]``; where times repeat, as they do at
the end of the shorter ones, nothing moves (``clock.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torchdiffeq import odeint

from groundvae.physics.adjoint import linked
from groundvae.physics.clock import Field, pick
from groundvae.physics.clock import from_start as from_start
from groundvae.physics.clock import step_grid as step_grid
from groundvae.physics.errors import DivergedError, InputError, is_tolerant
from groundvae.physics.exponential import Exponential as Exponential
from groundvae.physics.leapfrog import Interpolated as Interpolated
from groundvae.physics.leapfrog import Leapfrog as Leapfrog
from groundvae.physics.rungekutta import RK4 as RK4
from groundvae.physics.rungekutta import Euler as Euler
from groundvae.physics.rungekutta import FixedStep as FixedStep
from groundvae.physics.rungekutta import Midpoint as Midpoint


class Solver(Protocol):
    """What a solver is; any object of this shape is one."""

    def __call__(self, field: Field, state: Tensor, times: Tensor, /) -> Tensor:
        """States (time, ..., dimension) of one (..., dimension) at ``times[0]``.

        ``times``, s, are (time,) or of each observation's own, (observation, time).
        """

    def stage_times(self, times: Tensor, /) -> Tensor | None:
        """All times (stage,), s, at which the field will be asked; None: not known before."""


@dataclass(frozen=True)
class Dopri5:
    """torchdiffeq's adaptive Dormand-Prince 5(4); one error norm over the whole batch."""

    rtol: float = 1e-7
    atol: float = 1e-9

    def __call__(self, field: Field, state: Tensor, times: Tensor) -> Tensor:
        if times.dim() == 2:
            return self._own_path(field, state, times.T)
        if times.numel() == 1:
            return state.unsqueeze(0)
        states: Tensor = odeint(
            field, state, times, method="dopri5", rtol=self.rtol, atol=self.atol
        )
        return states

    def _own_path(self, field: Field, state: Tensor, times: Tensor) -> Tensor:
        """Interval by interval, on a clock that all share: a share of the interval, 0 .. 1."""
        states = [state]
        unit = times.new_tensor([0.0, 1.0])
        for start, end in pairwise(times):
            if torch.equal(start, end):
                states.append(states[-1])
                continue

            def on_clock(
                share: Tensor, at: Tensor, start: Tensor = start, length: Tensor = end - start
            ) -> Tensor:
                return length.unsqueeze(-1) * field(start + share * length, at)

            path = odeint(
                on_clock, states[-1], unit, method="dopri5", rtol=self.rtol, atol=self.atol
            )
            states.append(path[-1])
        return torch.stack(states)

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

    solver: FixedStep = RK4()  # noqa: RUF009, frozen

    def __call__(self, field: Field, state: Tensor, times: Tensor) -> Tensor:
        grid, requested = step_grid(times, self.solver.step)
        needed = torch.is_grad_enabled() and (
            state.requires_grad or field(grid[0], state).requires_grad
        )
        if not needed or len(grid) == 1:
            return pick(self.solver.path(field, state, grid), requested)
        with torch.no_grad():
            path = self.solver.path(field, state, grid)
        whole = linked(state, path, lambda before: self.solver.advance(field, before, grid))
        return pick(whole, requested)

    def stage_times(self, times: Tensor) -> Tensor:
        """All times at which the field will be evaluated, ascending, s.

        (stage,), or for times (observation, time) (stage, observation).
        """
        return self.solver.stage_times(times)


def stepped(solver: Solver) -> Solver:
    """What makes the steps of a solver: itself, or the solver that ``ParallelAdjoint`` is of."""
    return solver.solver if isinstance(solver, ParallelAdjoint) else solver


def solve(field: Field, state: Tensor, times: Tensor, solver: Solver) -> Tensor:
    """States of shape ``(..., time, dimension)``; refuses a result that is not finite.

    Args:
        field: takes a time () or (observation,), s, and a state; gives its rate, per s.
        state: (..., dimension) at the first time; (..., observation, dimension) where the times
            are of each observation's own.
        times: (time,), or (observation, time) of each one's own, s.
        solver: how.

    Raises:
        InputError: other numbers of observations in ``times`` and in ``state``.
        DivergedError: naming the first sample that left the finite numbers, and when.

    """
    own = times.dim() == 2
    if own and (state.dim() < 2 or state.shape[-2] != len(times)):
        raise InputError(
            f"a state of shape {tuple(state.shape)} at the times of {len(times)} observations, "
            f"expected (..., {len(times)}, dimension)"
        )
    states = solver(field, state, times)
    if not is_tolerant() and not torch.isfinite(states[-1]).all():
        wrong = ~torch.isfinite(states).reshape(len(states), -1, states.shape[-1])
        sample = int(wrong.any(dim=-1).any(dim=0).nonzero()[0])
        when, component = wrong[:, sample].nonzero()[0].tolist()
        clock = times[sample % len(times)] if own else times
        remedy = f"use a smaller step than {solver}"
        raise DivergedError(sample, component, float(clock[when]), remedy)
    return torch.movedim(states, 0, -2)
