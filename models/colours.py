"""Rows of a Jacobian that can be made together, since no two depend on the same state.

A rate on a grid depends on its neighbours alone: a few passes give the whole of its Jacobian, where
one for each point would be needed else. What depends on what is seen from a state that is not a
number. Source: Curtis, Powell & Reid (1974), On the estimation of sparse Jacobian matrices.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def dependence(rate: Callable[[Tensor, Tensor], Tensor], time: Tensor, state: Tensor) -> Tensor:
    """Which components of a rate depend on which of a state, (d, d), row by row.

    Args:
        rate: of times (step, 1 or n) and states (step, n, d).
        time: one, (1 or n,).
        state: of n observations (n, d).

    >>> shifted = lambda time, state: state.roll(1, -1)
    >>> dependence(shifted, torch.zeros(1), torch.ones(2, 3)).int().tolist()
    [[0, 0, 1], [1, 0, 0], [0, 1, 0]]

    """
    size = state.shape[-1]
    lost = torch.eye(size, dtype=torch.bool, device=state.device).unsqueeze(1)
    states = state.expand(size, *state.shape).masked_fill(lost, torch.nan)
    found = rate(time.expand(size, *time.shape), states)
    return found.isnan().any(1).mT


def grouped(depends: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Rows of which no two share a column: where they are in the matrix, by rows and columns.

    >>> [rows.tolist() for rows, _ in grouped(torch.eye(3, dtype=torch.bool))]
    [[0, 1, 2]]
    """
    groups: list[list[int]] = []
    taken: list[Tensor] = []
    for row, columns in enumerate(depends):
        place = next((k for k, each in enumerate(taken) if not (each & columns).any()), None)
        if place is None:
            groups.append([row])
            taken.append(columns.clone())
        else:
            groups[place].append(row)
            taken[place] |= columns
    found = []
    for group in groups:
        chosen = torch.tensor(group, device=depends.device)
        rows, seen = depends[chosen].nonzero(as_tuple=True)
        found.append((chosen[rows], seen))
    return found


def sparse_rows(value: Tensor, leaf: Tensor, depends: Tensor) -> Tensor:
    """``d value_i / d leaf_j`` (..., i, j) of values (..., d), each of few of a leaf (..., d)."""
    found = leaf.new_zeros(*leaf.shape, leaf.shape[-1]).detach()
    if not value.requires_grad:
        return found
    for rows, seen in grouped(depends):
        some = value[..., rows.unique()].sum()
        (grad,) = torch.autograd.grad(some, leaf, retain_graph=True, allow_unused=True)
        if grad is not None:
            found[..., rows, seen] = grad[..., seen]
    return found
