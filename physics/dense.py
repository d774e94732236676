"""Samples that lie denser than a solver's steps: steps as long as allowed, and cubics between them.

A step from each sample to the next costs what a step costs, however short it is. A cubic through
the states and slopes at both ends of a step is of the order of RK4 itself. Source: Hairer, Norsett
& Wanner (1993), Solving Ordinary Differential Equations I, section II.6 (dense output).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from groundvae.physics.clock import SLACK, Field
from groundvae.physics.rungekutta import FixedStep
from groundvae.physics.solver import Solver, solve, stepped

DENSE = 4  # samples a step, from which on they are not stepped to


class Dense:
    """From an even ``grid`` (step + 1,), s, to the times (time,) between."""

    def __init__(self, grid: Tensor, times: Tensor) -> None:
        self.grid = grid
        self.before = (torch.searchsorted(grid, times, right=True) - 1).clamp(0, len(grid) - 2)
        length = torch.diff(grid)[self.before]
        s = (times - grid[self.before]) / length
        self.weights = torch.stack(
            [
                (1 + 2 * s) * (1 - s) ** 2,
                s**2 * (3 - 2 * s),
                length * s * (1 - s) ** 2,
                length * s**2 * (s - 1),
            ]
        )

    def __call__(self, values: Tensor, slopes: Tensor) -> Tensor:
        """Values (time, ...) of those on the grid (step + 1, ...), with their slopes there."""
        shape = (-1, *[1] * (values.dim() - 1))
        first, last, rise, fall = (weight.view(shape) for weight in self.weights)
        after = self.before + 1
        return (
            first * values[self.before]
            + last * values[after]
            + rise * slopes[self.before]
            + fall * slopes[after]
        )

    def solve(self, field: Field, state: Tensor, _: Tensor, solver: Solver) -> Tensor:
        """States (..., time, dimension), as ``physics.solver.solve`` gives them."""
        nodes = solve(field, state, self.grid, solver).movedim(-2, 0)
        slopes = [field(time, at) for time, at in zip(self.grid, nodes, strict=True)]
        return self(nodes, torch.stack(slopes)).movedim(0, -2)


def dense_output(times: Tensor, solver: Solver) -> Dense | None:
    """How to get to ``times`` (time,), s; None where a solver steps to each of them.

    >>> from groundvae.physics.solver import ParallelAdjoint
    >>> found = dense_output(torch.linspace(0, 1, 1001), ParallelAdjoint())
    >>> found.grid.shape
    torch.Size([21])
    >>> float(found(found.grid**3, 3 * found.grid**2)[-2])
    0.9970030784606934
    """
    inner = stepped(solver)
    if times.dim() != 1 or not isinstance(inner, FixedStep) or 1.0 not in inner.stages:
        return None
    steps = math.ceil(float(times[-1] - times[0]) / inner.step - SLACK)
    if steps < 1 or len(times) - 1 < DENSE * steps:
        return None
    ends = (float(times[0]), float(times[-1]))
    grid = torch.linspace(*ends, steps + 1, dtype=times.dtype, device=times.device)
    return Dense(grid, times)
