"""Draws whose path runs away: left out, and counted."""

from __future__ import annotations

import torch
from torch import Tensor

from groundvae.inference.block import Groups
from groundvae.models.greybox import OBSERVATION

RUNAWAY = 20.0  # times the largest observed value, beyond which a path has run away


def decodable(groups: Groups, largest: Tensor) -> tuple[Groups, Tensor]:
    """Draws whose path ran away, each replaced by another of its observation, and their number.

    The model's density is next to zero there, and a mean over draws would be theirs. Of an
    observation without another draw they are NaN. ``largest``: of what was observed.
    """
    x = groups["posterior_predictive"][OBSERVATION]
    reach = x.abs().nan_to_num(nan=torch.inf).flatten(2).amax(-1)
    good = reach <= RUNAWAY * largest  # (draw, observation)
    count = (~good).sum(0)
    if bool(good.all()):
        return groups, count
    for name in ("posterior_predictive", "physics_predictive"):
        if name in groups:
            value = groups[name][OBSERVATION]
            none = (~good.any(0)).view(1, -1, *[1] * (value.dim() - 2))
            groups[name] = {OBSERVATION: value.masked_fill(none, torch.nan)}
    spare = torch.multinomial(good.T.double() + 1e-12, len(good), replacement=True).T
    own = torch.arange(len(good), device=good.device).unsqueeze(-1).expand_as(spare)
    index = torch.where(good, own, spare)
    rows = torch.arange(index.shape[1])
    chosen = {
        group: {name: value[index, rows] for name, value in values.items()}
        for group, values in groups.items()
    }
    return chosen, count
