"""Hamilton's equations ``q' = dH/dp, p' = -dH/dq`` for a separable ``H = T(p) + V(q)``.

State ``(..., 2 n)``: position q, then momentum p. A separable H is what an explicit symplectic
solver can keep; what T and V are is the model's affair.
Source: Greydanus, Dzamba & Yosinski (2019), Hamiltonian neural networks; Hairer, Lubich &
Wanner, Geometric Numerical Integration (2006), section I.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Separable:
    """A field whose halves can be asked for alone, which saves a solver half of the work.

    ``velocity`` is ``dT/dp`` of the momentum (..., n), ``force`` is ``-dV/dq`` of the position.
    """

    velocity: Callable[[Tensor], Tensor]
    force: Callable[[Tensor], Tensor]

    def __call__(self, time: Tensor, state: Tensor) -> Tensor:
        position, momentum = state.chunk(2, dim=-1)
        return torch.cat([self.velocity(momentum), self.force(position)], dim=-1)


def hermite(times: Tensor, grid: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
    """A path between the grid's times by cubic polynomials that fit values and slopes.

    ``values`` and ``slopes`` (..., grid, n) at ``grid`` -> (..., time, n) at ``times`` (time,), or
    of each observation's own, (observation, time); all lie on its span. The error is of fourth
    order: a path costs few steps, however fine its samples.
    """
    rows = torch.arange(len(times), device=times.device).unsqueeze(-1)

    def at(path: Tensor, places: Tensor) -> Tensor:
        return path[..., places, :] if times.dim() == 1 else path[..., rows, places, :]

    last = torch.searchsorted(grid, times.contiguous(), right=True).clamp(1, len(grid) - 1)
    h = (grid[last] - grid[last - 1]).unsqueeze(-1)
    u = (times - grid[last - 1]).unsqueeze(-1) / h
    start, end = at(values, last - 1), at(values, last)
    rising, arriving = h * at(slopes, last - 1), h * at(slopes, last)
    gap = end - start
    return start + u * (
        rising + u * (3 * gap - 2 * rising - arriving + u * (rising + arriving - 2 * gap))
    )


def drift(energy: Tensor) -> Tensor:
    """Largest departure of H from its start, as a share of its start, (..., time) -> (...)."""
    start = energy[..., :1]
    return ((energy - start).abs() / start.abs()).amax(-1)
