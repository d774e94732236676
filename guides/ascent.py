"""The way of a search to a mode: lifted or along solved paths, then held to its prior."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from groundvae.guides.follow import Part, follow
from groundvae.guides.lifted import OWN_STILL, STILL, lift, refit_own
from groundvae.guides.search import Search

STEPS, LEAST_STEPS = 30, 3  # of a search, once it is held to its prior
STUCK = ((10, 1e5), (20, 1e3))  # steps after which one is given up that still promises so many nats


@torch.no_grad()
def ascend(search: Search, parts: Sequence[Part], *, lifts: bool) -> None:
    """Move every point to a mode, and its own variances to where they are likeliest; in place.

    Where the model ``lifts``, those that cannot be lifted to one stay.
    """
    if not lifts:
        search.renew()
        follow(search, parts)
        climb(search, parts, torch.arange(len(search.at), device=search.at.device))
        return
    arrived = lift(search, parts, own=True)
    climb(search, parts, (arrived & ~(search.linear().gain() < STILL)).nonzero().squeeze(-1))


def climb(search: Search, parts: Sequence[Part], moving: Tensor) -> None:
    """Levenberg-Marquardt along solved paths, of the points ``moving`` (m,); in place."""
    for step in range(STEPS if len(moving) else 0):
        some = search.pick(moving)
        linear = some.linear()
        before = some.at.clone()
        if parts and step:
            linear = refit_own(some, parts, linear)
        owned = torch.zeros_like(moving, dtype=torch.bool)
        for part in parts:
            owned |= (some.at - before)[:, part.first].abs() > OWN_STILL
        gain = linear.gain()
        still = (gain < STILL) & ~owned & (step >= LEAST_STEPS)
        for patience, nats in STUCK:
            still |= (gain > nats) & (step >= patience)
        some.move(linear=linear)
        search.put(some, moving)
        moving = moving[~still]
        if not len(moving):
            return
