"""The start of a search: first the path follows the data, then the unknown is held to its prior.

A push that may be anything follows the data within a few steps, and all else is then linearized
along the true path; its prior is tightened back step by step. So one start reaches what many
starts from the prior do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.search import Search
from groundvae.models.greybox import GreyBox
from groundvae.models.residuals.population import PopulationResidual, Statistics
from groundvae.models.residuals.residual import Residual

LOOSE = (1e6, 1e6, 1e5, 1e4, 1e3, 1e2, 1e1)  # times the push's variance, one step each
CALM = 0.1  # most damping that is carried from one to the next


@dataclass(frozen=True)
class Part:
    """One population residual and where its weights stand among all latents."""

    residual: PopulationResidual
    first: int

    @property
    def auxiliary(self) -> slice:
        """All of its ``z_aux``; the own variance stands first."""
        return slice(self.first, self.first + self.residual.auxiliary)

    @property
    def weights(self) -> slice:
        """Those that are weights."""
        size = len(self.residual.acts_on) * self.residual.count
        return slice(self.first + self.residual.auxiliary - size, self.auxiliary.stop)

    @property
    def push(self) -> Tensor:
        """Places of the weights of features of time."""
        return self._places(torch.arange(self.residual.timed))

    @property
    def seen(self) -> Tensor:
        """Places of the weights of features of the states."""
        return self._places(torch.arange(self.residual.timed, self.residual.count))

    def _places(self, features: Tensor) -> Tensor:
        """Where the weights of some ``features`` of each state that is pushed stand."""
        targets = torch.arange(len(self.residual.acts_on)).unsqueeze(-1) * self.residual.count
        places = (self.weights.start + targets + features).flatten()
        return places.to(self.residual.own_spread.device)

    def statistics(
        self,
        search: Search,
        linear: LinearGaussian,
        usual: Tensor | None = None,
        imitation: Tensor | None = None,
    ) -> Statistics:
        """What the posteriors at a search's points say of the weights."""
        first = self.weights.start
        return Statistics(
            linear.mean[:, self.weights],
            linear.told[:, self.weights],
            lambda columns: linear.information(columns + first),
            search.at[:, self.auxiliary],
            search.alive if usual is None else usual,
            imitation,
        )


def places_of(model: GreyBox) -> list[tuple[Residual, slice]]:
    """The residuals, and where among all latents each one's ``z_aux`` stands."""
    ends = accumulate((term.auxiliary for term in model.terms), initial=len(model.latents))
    return [(term, slice(*two)) for term, two in zip(model.terms, pairwise(ends), strict=True)]


def parts_of(model: GreyBox) -> list[Part]:
    """The residuals whose population is learned by evidence."""
    return [
        Part(term, place.start)
        for term, place in places_of(model)
        if isinstance(term, PopulationResidual)
    ]


@torch.no_grad()
def follow(search: Search, parts: Sequence[Part]) -> None:
    """Move every point along a push that is held less and less loosely; in place."""
    kept = [part.residual.own(search.at[:, part.auxiliary]) for part in parts]
    for looseness in LOOSE:
        reown(search, parts, [own * looseness for own in kept])
        search.move()
        search.damping = search.damping.clamp(max=CALM)
    reown(search, parts, kept)


def reown(search: Search, parts: Sequence[Part], owns: Sequence[Tensor]) -> None:
    """Set the observations' own variances; raw weights stay what they are."""
    carry(search, parts, lambda: owns)


def carry(search: Search, parts: Sequence[Part], change: Callable[[], Sequence[Tensor]]) -> None:
    """Change what whitens the weights; raw weights stay what they are, in new coordinates.

    ``change`` may move the populations, and gives each part's new own variances (n,).
    """
    here = [search.at[:, part.auxiliary] for part in parts]
    raw = [part.residual.weights(at) for part, at in zip(parts, here, strict=True)]
    before = [part.residual.scales(at) for part, at in zip(parts, here, strict=True)]
    for part, weights, old, own in zip(parts, raw, before, change(), strict=True):
        search.at[:, part.auxiliary] = part.residual.whitened(weights, own)
        new = part.residual.scales(search.at[:, part.auxiliary])
        search.jacobian[..., part.weights] *= (new / old).unsqueeze(1)
