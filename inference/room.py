"""Draws again, with more room, where k-hat doubts the weights of a guide's draws.

The posterior of few observations has longer tails than a normal about its mode: there, and there
alone, the guide's posterior is made wider, step by step, until importance weights have no long
tail. Intervals become a little wider with it, never narrower. Source: Vehtari, Simpson, Gelman, Yao
& Gabry (2024), Pareto smoothed importance sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from groundvae.guides.refinement import LOWEST
from groundvae.inference.block import Groups
from groundvae.inference.importance import smooth

TRUSTED = 0.7  # k-hat, above which weights are not
ENOUGH = 50  # draws whose k-hat says something
WEIGHED = "weighed"
"""The group that holds ``log_weight`` (draw, observation), whatever world was predicted."""


def make_room(
    rooms: Sequence[float], groups: Groups, again: Callable[[Tensor, float], Groups], seed: int
) -> None:
    """Put draws with more room in place of those that k-hat doubts.

    Args:
        rooms: times the widths, one after the other.
        groups: arrays (draw, observation, ...) by name; ``WEIGHED`` is taken out. Of fewer than
            ``ENOUGH`` weighed draws nothing is doubted: a tail of five would be by chance.
        again: groups of observations (m,) under a room.
        seed: of these draws; nothing else is drawn from it.

    """
    weight = groups.pop(WEIGHED, {}).get("log_weight")
    if weight is None or len(weight) < ENOUGH:
        return
    with torch.random.fork_rng():
        for step, room in enumerate(rooms):
            rows = doubted(weight, TRUSTED)
            if not len(rows):
                return
            torch.manual_seed(seed + step)
            found = again(rows, room)
            weight[:, rows] = found.pop(WEIGHED)["log_weight"]
            for group, values in found.items():
                for name, value in values.items():
                    groups[group][name][:, rows] = value


def doubted(log_weight: Tensor, limit: float) -> Tensor:
    """Observations (m,) whose weights (draw, observation) have a k-hat above a limit."""
    values = log_weight.double().cpu().numpy()
    known = np.isfinite(values).any(0)
    values = np.where(np.isfinite(values), values, LOWEST)
    asks = (smooth(values)[1] > limit) & known
    return torch.as_tensor(asks.nonzero()[0], device=log_weight.device)
