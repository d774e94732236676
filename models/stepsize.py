"""The step of a law whose author gave no solver: as long as its paths allow, from the data's times.

The path at draws of the prior is solved at a step and at half of it, until both agree to a small
share of how far the data spread. Laws come in milliseconds and in years; no fixed step serves both.
Source: Hairer, Norsett & Wanner (1993), Solving Ordinary Differential Equations I, section II.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

AGREE = 1e-3  # of the data's spread, or a path's size, that two steps may differ by
HALVINGS = 7  # of the usual gap between samples, before a law counts as stiff
MOST = 2000  # steps from the start to the last sample that are worth trying


def gap_of(times: Tensor) -> float:
    """The usual time between samples, s, of times (time,) or (observation, time), padded or not."""
    gaps = torch.diff(times, dim=-1)
    gaps = gaps[gaps > 0]
    return float(gaps.median()) if len(gaps) else 1.0


def disagreement(solved: Callable[[float], Tensor], step: float, spread: Tensor) -> float:
    """Error of a step, as a share of ``spread``: that of three quarters of the draws is below it.

    Of a draw that goes further than the data, as a share of how far that is: without what is
    unknown a population may grow for ever.

    Args:
        solved: what is observed (draw, *event) at a step, s; NaN where a path ran away.
        step: s.
        spread: of the data, (), or of each channel (channel,).

    """
    coarse, fine = solved(step), solved(step / 2)
    off = ((coarse - fine) / spread).square().flatten(1).mean(1).sqrt()
    reach = (fine / spread).square().flatten(1).mean(1).sqrt()
    off = off / reach.clamp(min=1.0)
    off = off.masked_fill(~torch.isfinite(off), math.inf)
    there = torch.isfinite(fine).flatten(1).all(1)  # what runs away at any step tells nothing
    return float(off[there].sort().values[int(0.75 * (int(there.sum()) - 1))]) if there.any() else 0


def step_for(
    solved: Callable[[float], Tensor], times: Tensor, spread: Tensor
) -> tuple[float, float]:
    """The longest step that the paths allow, s, and what is left of its error, as a share.

    Args:
        solved: what is observed (draw, *event) at a step, s.
        times: of the start and the samples, (time,) or (observation, time), s.
        spread: of the data, (), or of each channel (channel,).

    """
    step = gap_of(times)
    span = float(times.max() - times.min())
    error = disagreement(solved, step, spread)
    for _ in range(HALVINGS):
        if error < AGREE or span / step > MOST:
            break
        step /= 2
        error = disagreement(solved, step, spread)
    return step, error
