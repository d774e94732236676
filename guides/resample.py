"""Carry series from any grid of times, with or without gaps, to one fixed grid.

Encoders are networks of a fixed number of inputs; data come on other grids. In between stands
the mean of a Gaussian process given the samples that are there. Where the grids agree and
nothing is missing, series pass unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor

LENGTHS = (8.0, 1.2)  # length scales, in steps of the fixed grid: slow motion and fast
WEIGHTS = (0.7, 0.3)
NUGGET = 1e-3
ENTRIES = 8_000_000  # of covariances held at once
LONG = 4  # times as many samples as the grid has: from here on points in between stand for them


def resample(series: Tensor, times: Tensor, grid: Tensor, observed: Tensor | None = None) -> Tensor:
    """Series, of order one, at any times, carried to one grid.

    Args:
        series: (observation, time).
        times: (time,), s, or (observation, time) of each one's own, whose padding is not observed.
        grid: (grid,), s, even.
        observed: (observation, time), False where a sample is missing; None: all are there.

    Returns:
        (observation, grid).

    Examples:
        >>> t = torch.linspace(0, 1, 5)
        >>> torch.equal(resample(torch.ones(2, 5), t, t), torch.ones(2, 5))
        True

    """
    if times.dim() == 2:
        return _resample_own(series, times, grid, observed)
    if observed is None and _same(times, grid):
        return series
    if len(times) > LONG * len(grid):  # a solve in the space of all samples costs their cube
        return _resample_own(series, times.expand(len(series), -1), grid, observed)
    unit = (grid[-1] - grid[0]) / max(len(grid) - 1, 1)
    cross = _kernel(grid, times, unit)
    gram = _kernel(times, times, unit)
    noise = torch.full_like(series, NUGGET)
    if observed is None:
        weights = torch.linalg.solve(gram + torch.diag(noise[0]), cross.T)
        return series @ weights
    noise = noise.masked_fill(~observed, 1e6)  # a missing sample is one of infinite noise
    values = torch.linalg.solve(gram + torch.diag_embed(noise), series.unsqueeze(-1))
    filled = (cross @ values).squeeze(-1)
    if not _same(times, grid):
        return filled
    return torch.where(observed, series, filled)


def _resample_own(series: Tensor, times: Tensor, grid: Tensor, observed: Tensor | None) -> Tensor:
    """The same for times (observation, time), a few observations at once."""
    there = torch.ones_like(series, dtype=torch.bool) if observed is None else observed
    series = series.masked_fill(~there, 0.0)
    steps = times.shape[-1]
    carry, width = (_exact, steps) if steps <= LONG * len(grid) else (_by_points, 2 * len(grid))
    rows = max(1, ENTRIES // (steps * width))
    parts = zip(series.split(rows), times.split(rows), there.split(rows), strict=True)
    return torch.cat([carry(*part, grid) for part in parts])


def _exact(series: Tensor, times: Tensor, there: Tensor, grid: Tensor) -> Tensor:
    unit = (grid[-1] - grid[0]) / max(len(grid) - 1, 1)
    noise = torch.full_like(series, NUGGET).masked_fill(~there, 1e6)
    gram = _kernel(times, times, unit) + torch.diag_embed(noise)
    values = torch.linalg.solve(gram, series.unsqueeze(-1))
    return (_kernel(grid.expand(len(times), -1), times, unit) @ values).squeeze(-1)


def _by_points(series: Tensor, times: Tensor, there: Tensor, grid: Tensor) -> Tensor:
    """The same mean where samples are many: that given by points at half steps of the grid.

    Source: Quinonero-Candela & Rasmussen (2005), A unifying view of sparse approximate Gaussian
    process regression, section 5 (deterministic training conditional).
    """
    known = grid.double()
    unit = (known[-1] - known[0]) / max(len(known) - 1, 1)
    points = torch.linspace(
        float(grid[0]), float(grid[-1]), 2 * len(grid) - 1, dtype=known.dtype, device=grid.device
    )
    seen = _kernel(times.double(), points.expand(len(times), -1), unit) * there.unsqueeze(-1)
    among = _kernel(points, points, unit)
    among = among + 1e-8 * torch.eye(len(points), dtype=known.dtype, device=grid.device)
    precision = NUGGET * among + seen.mT @ seen
    weights = torch.linalg.solve(precision, seen.mT @ series.double().unsqueeze(-1))
    return (_kernel(known, points, unit) @ weights).squeeze(-1).to(series)


def _same(times: Tensor, grid: Tensor) -> bool:
    return bool(on_grid(times, grid))


def on_grid(times: Tensor, grid: Tensor) -> Tensor:
    """Whether times (time,) are those of a grid (grid,), (); of each one's own, (observation,)."""
    if times.shape[-1] != len(grid):
        return torch.zeros(times.shape[:-1], dtype=torch.bool, device=times.device)
    tolerance = 1e-3 * float(grid[-1] - grid[0]) / max(len(grid) - 1, 1)
    return (times - grid).abs().amax(-1) <= tolerance


def _kernel(a: Tensor, b: Tensor, unit: Tensor) -> Tensor:
    steps = ((a[..., :, None] - b[..., None, :]) / unit) ** 2
    parts = [w * torch.exp(-0.5 * steps / s**2) for w, s in zip(WEIGHTS, LENGTHS, strict=True)]
    return torch.stack(parts).sum(0)
