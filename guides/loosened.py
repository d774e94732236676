"""The start of a search beside networks: ``z_aux`` may be anything, then is held to its prior.

As ``follow.py`` has it of populations: what follows the data is linearized along the true path.
"""

from __future__ import annotations

import torch
from torch import Tensor

from groundvae.guides.follow import CALM, places_of
from groundvae.guides.search import Search
from groundvae.models.residuals.deeponet import DeepONet

LOOSE = (300.0, 300.0, 100.0, 30.0, 10.0, 3.0)  # standard deviations of the prior, one step each
HELD = 3  # steps after them


def follow_loosely(search: Search) -> None:
    """Move every point along a residual that is held less and less loosely; in place."""
    for looseness in LOOSE:
        search.widths = loosened(search, looseness)
        search.move()
        search.damping = search.damping.clamp(max=CALM)
    search.widths = None
    for _ in range(HELD):
        search.move()


def loosened(search: Search, looseness: float) -> Tensor:
    """Standard deviations (latent,): of ``z_aux`` so many, but for own scales, of which none is."""
    widths = torch.ones_like(search.at[0])
    widths[len(search.scores) :] = looseness
    for term, place in places_of(search.model):
        if isinstance(term, DeepONet):
            widths[place.start] = 1.0
    return widths
