"""Refinement: draws of a guide that is off are carried on to the model's own posterior.

Annealed importance sampling: from draws of a guide ``q`` that was made a little wide, by a few
densities ``q^(1 - b) p^b`` that end at the posterior ``p``, each met by one Metropolis step that
knows the guide's shape and asks the model for its density alone. What is gathered on the way is an
importance weight of the whole way, as honest as one of a guide's own draw: k-hat judges it. Source:
Neal (2001), Annealed importance sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

LEVELS = 4  # densities on the way, the posterior the last of them
BENT = 2.0  # power of their spacing: small steps first, where weights are wildest
KEPT = 0.8  # share of a point that a move keeps
LOWEST = -1e30  # nats, in place of minus infinity, of which there are no differences
WIDENED = 1.1  # times its widths, what a guide begins from: weights then have no long tail

LogJoint = Callable[[Mapping[str, Tensor]], Tensor]
"""Log p(x, z) (draw, n) of latents (draw, n, ...) by name; not finite where a path ran away."""


class Walk(Protocol):
    """A guide's posterior of n observations as something to walk in."""

    def begin(self, draws: int) -> Tensor:
        """Draws (draw, n, latent)."""
        ...

    def moved(self, point: Tensor, kept: float) -> Tensor:
        """Other points; the guide's density is the same before and after."""
        ...

    def latents(self, point: Tensor) -> dict[str, Tensor]:
        """The latents of points, by name."""
        ...

    def log_prob(self, point: Tensor) -> Tensor:
        """Log q (draw, n) in the latents' own units."""
        ...


@dataclass
class Chains:
    """Points (draw, n, latent) on their way to the posterior.

    ``ratio`` (draw, n) is log p(x, z) - log q(z | x) there, ``log_weight`` (draw, n) what was
    gathered, ``accepted`` (n,) the sum of shares of moves that were, ``moves`` their number.
    """

    walk: Walk
    log_joint: LogJoint
    point: Tensor
    ratio: Tensor
    log_weight: Tensor
    accepted: Tensor
    moves: int = 0

    @classmethod
    def begin(cls, walk: Walk, log_joint: LogJoint, draws: int) -> Chains:
        """Draws of the guide."""
        point = walk.begin(draws)
        here = ratio(walk, log_joint, point)
        return cls(walk, log_joint, point, here, torch.zeros_like(here), torch.zeros_like(here[0]))

    @torch.no_grad()
    def anneal(self) -> None:
        """Go to the posterior."""
        shares = torch.linspace(0, 1, LEVELS + 1).to(self.ratio) ** BENT
        for before, share in pairwise(shares):
            self.log_weight = self.log_weight + (share - before) * self.ratio
            if share < 1:
                self.move(float(share))

    @torch.no_grad()
    def move(self, share: float = 1.0, kept: float = KEPT) -> None:
        """One Metropolis step of all points, for a share of the way."""
        point = self.walk.moved(self.point, kept)
        there = ratio(self.walk, self.log_joint, point)
        taken = torch.rand(there.shape).to(there).log() < share * (there - self.ratio)
        self.point = torch.where(taken.unsqueeze(-1), point, self.point)
        self.ratio = torch.where(taken, there, self.ratio)
        self.accepted, self.moves = self.accepted + taken.to(there).mean(0), self.moves + 1

    def resample(self, log_weight: Tensor) -> None:
        """Take points (draw, n) in proportion to their weights, systematically."""
        draws, n = log_weight.shape
        reach = torch.softmax(log_weight, 0).cumsum(0)
        comb = (torch.arange(draws).to(reach).unsqueeze(-1) + torch.rand(n).to(reach)) / draws
        index = torch.searchsorted(reach.mT.contiguous(), comb.mT.contiguous()).mT
        index = index.clamp(max=draws - 1)
        self.point = self.point.gather(0, index.unsqueeze(-1).expand_as(self.point))
        self.ratio = self.ratio.gather(0, index)


def ratio(walk: Walk, log_joint: LogJoint, point: Tensor) -> Tensor:
    """``log p(x, z) - log q(z | x)`` (draw, n) at points (draw, n, latent)."""
    found = log_joint(walk.latents(point)) - walk.log_prob(point)
    return torch.where(torch.isfinite(found), found, torch.full_like(found, LOWEST))
