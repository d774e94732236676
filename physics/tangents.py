"""Sensitivities of a path: how every state of a solved path moves with every parameter, exactly.

Once a path is known its steps do not depend on each other, so the Jacobians of all steps are made
at once; what is left to be done in order is ``S_{n+1} = M_n S_n + P_n``, two products with small
matrices. These are the derivatives of the discrete steps themselves, to rounding. Source: Hairer,
Norsett & Wanner (1993), Solving Ordinary Differential Equations I, section II.6 (the variational
equation, solved by the same Runge-Kutta method).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from groundvae.physics.clock import stage_time
from groundvae.physics.rungekutta import FixedStep

Jacobians = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""Takes times (step, 1 or n) and states (step, n, d); gives the rate (step, n, d), its derivatives
by the state (step, n, d, d) and by the parameters (step, n, d, parameter)."""


@dataclass(frozen=True)
class Timed:
    """Parameters whose part in the rate is a function of time alone.

    ``rows`` (row,) are the components of the state that they push, ``features`` give at times
    (step,) what each does to each of these, (step, row, parameter), and at times (step, n) of each
    one's own (step, n, row, parameter). They cost a product of small matrices a step, however many
    they are.
    """

    rows: Tensor
    features: Callable[[Tensor], Tensor]


def sensitivities(
    path: Tensor,
    grid: Tensor,
    begin: Tensor,
    jacobians: Jacobians,
    solver: FixedStep,
    timed: Timed | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """``d state / d parameter`` at every time of a grid.

    Args:
        path: states (step + 1, n, d) on the grid, as ``solver`` made them.
        grid: times (step + 1,), or (step + 1, n) of each one's own, s.
        begin: ``d state / d parameter`` at the first of them, (n, d, parameter).
        jacobians: the rate and its derivatives.
        solver: the method.
        timed: further parameters, none of which moves the start.
        start: where the path should begin (n, d). Then it need not solve its law, and a last
            column says how far the law, linear about the path, would move it.

    Returns:
        (step + 1, n, d, parameter), those of ``timed`` behind the others.

    """
    moved, pushed, ends = _step_maps(path[:-1], grid, jacobians, solver, timed)
    if start is not None:
        pushed.append((ends - path[1:]).unsqueeze(-1))
    width = sum(part.shape[-1] for part in pushed)
    found = path.new_empty(len(grid), *begin.shape[:-1], width)  # made once: it is large
    found[0] = 0.0
    found[0, ..., : begin.shape[-1]] = begin
    if start is not None:
        found[0, ..., -1] = start - path[0]
    torch.cat(pushed, -1, out=found[1:])
    for i, move in enumerate(moved.unbind(0)):
        found[i + 1].baddbmm_(move, found[i])
    return found


def _step_maps(
    before: Tensor,
    grid: Tensor,
    jacobians: Jacobians,
    solver: FixedStep,
    timed: Timed | None,
) -> tuple[Tensor, list[Tensor], Tensor]:
    """All steps: derivatives by first state (step, n, d, d), and by parameters, in parts; ends.

    The ends (step, n, d) are where a step from each point of the path arrives.
    """
    steps = torch.diff(grid, dim=0)
    length = steps.reshape(len(steps), -1, 1)
    wide = length.unsqueeze(-1)
    slopes: list[Tensor] = []
    by_state: list[Tensor] = []
    by_parameter: list[Tensor] = []
    by_unit: list[Tensor] = []  # pushes of one in each row, at this stage and those before
    for share, row in zip(solver.stages, solver.couplings, strict=True):
        times = stage_time(grid[:-1], grid[1:], share).reshape(len(steps), -1)
        at = before + length * _mix(row, slopes) if slopes else before
        rate, own, push = jacobians(times, at)
        slopes.append(rate)
        chain = wide * own
        if timed is not None:
            now = _unit(push, timed.rows)
            earlier = [chain @ _mix(row, by_unit)] if by_unit else []
            by_unit.append(torch.cat([*earlier, now], -1))
        if by_state:
            push = push + chain @ _mix(row, by_parameter)
            own = own + chain @ _mix(row, by_state)
        by_state.append(own)
        by_parameter.append(push)
    moved = wide * _mix(solver.weights, by_state)
    moved.diagonal(dim1=-2, dim2=-1).add_(1.0)
    dense = wide * _mix(solver.weights, by_parameter)
    ends = before + length * _mix(solver.weights, slopes)
    if timed is None:
        return moved, [dense], ends
    unit = wide * _mix(solver.weights, by_unit)
    stages = torch.cat([timed.features(grid[:-1] + c * steps) for c in solver.stages], -2)
    if grid.dim() > 1:
        return moved, [dense, unit @ stages], ends
    spread = unit.flatten(1, 2) @ stages  # (step, n d, parameter)
    return moved, [dense, spread.unflatten(1, unit.shape[1:3])], ends


def _unit(like: Tensor, rows: Tensor) -> Tensor:
    """A rate of one in each row (step, n, d, row)."""
    block = torch.eye(like.shape[-2], dtype=like.dtype, device=like.device)[:, rows]
    return block.expand(*like.shape[:-1], -1)


def _mix(weights: Sequence[float], parts: Sequence[Tensor]) -> Tensor:
    """The weighted sum of parts (..., column), of which later ones may have more columns."""
    total = weights[-1] * parts[-1]
    for weight, each in zip(weights[:-1], parts[:-1], strict=True):
        if weight != 0.0:
            total[..., : each.shape[-1]].add_(each, alpha=weight)
    return total
