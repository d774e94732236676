"""A mixture of normals over latents of which some are angles: normals wrapped round their circle.

A wrapped normal is a normal summed over all whole periods; here over the nearest three, which is
exact to 0.3 % even where it spreads over the whole circle.
Source: Mardia & Jupp (2000), Directional Statistics, section 3.5.7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

TURNS = (0.0, -1.0, 1.0)


@dataclass(frozen=True)
class WrappedMixture:
    """``sum_k weight_k N(mean_k, covariance_k)`` on points (..., place), some places circles.

    ``weights`` (component,) add up to 1; ``means`` (component, place); ``covariances`` (component,
    place, place); ``periods`` (place,), infinite where a place is no circle.

    >>> one = torch.ones(1, dtype=torch.float64)
    >>> circle = WrappedMixture(one, 0.1 * one.view(1, 1), 0.04 * one.view(1, 1, 1), 3.0 * one)
    >>> apart = circle.log_prob(torch.tensor([[0.3], [2.9]], dtype=torch.float64))
    >>> bool((apart[0] - apart[1]).abs() < 1e-9)  # both 0.2 from 0.1, the one across the seam
    True
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    periods: Tensor

    def log_prob(self, points: Tensor) -> Tensor:
        """Log density (...) of points (..., place)."""
        return self._joint(points, list(range(len(self.periods)))).logsumexp((-2, -1))

    def sample(self, n: int) -> Tensor:
        """Draws (n, place)."""
        return self.given({}, n)

    def given(self, known: dict[int, Tensor], n: int) -> Tensor:
        """Draws (n, place) given the values (n,) of some places."""
        seen, free = list(known), [i for i in range(len(self.periods)) if i not in known]
        drawn = self.means.new_empty(n, len(self.periods))
        for place, values in known.items():
            drawn[:, place] = values
        joint = (
            self._joint(drawn, seen) if seen else self.weights.log().view(1, -1, 1).expand(n, -1, 1)
        )
        flat = torch.multinomial(joint.flatten(1).softmax(-1), 1).squeeze(-1)
        component, turn = flat // joint.shape[-1], flat % joint.shape[-1]
        mean, covariance = self.means[component], self.covariances[component]
        if seen and free:
            off = drawn[:, seen] - self._turned(seen)[turn] - mean[:, seen]
            gain = torch.linalg.solve(
                covariance[:, seen][:, :, seen], covariance[:, seen][:, :, free]
            )
            moved = mean[:, free] + (gain.mT @ off.unsqueeze(-1)).squeeze(-1)
            left = covariance[:, free][:, :, free] - covariance[:, free][:, :, seen] @ gain
        else:
            moved, left = mean[:, free], covariance[:, free][:, :, free]
        if free:
            drawn[:, free] = MultivariateNormal(moved, 0.5 * (left + left.mT)).sample()
        return self.wrapped(drawn)

    def marginal(self, places: Sequence[int]) -> WrappedMixture:
        """The mixture over some places alone."""
        kept = list(places)
        among = self.covariances[:, kept][:, :, kept]
        return WrappedMixture(self.weights, self.means[:, kept], among, self.periods[kept])

    def wrapped(self, points: Tensor) -> Tensor:
        """Points (..., place), those on circles within [0, period)."""
        round_about = torch.remainder(points, self.periods)
        return torch.where(self.periods.isfinite(), round_about, points)

    def _joint(self, points: Tensor, places: list[int]) -> Tensor:
        """Log (weight * density) (..., component, turn) of points at some places."""
        turns = self._turned(places)
        at = points[..., places].unsqueeze(-2).unsqueeze(-2) - turns
        among = self.covariances[:, places][:, :, places].unsqueeze(1)
        density = MultivariateNormal(self.means[:, places].unsqueeze(1), among)
        return density.log_prob(at) + self.weights.log().unsqueeze(-1)

    def _turned(self, places: Sequence[int]) -> Tensor:
        """Whole periods (turn, place) by which points are moved."""
        return whole_turns(self.periods[list(places)])


def whole_turns(periods: Tensor) -> Tensor:
    """Every combination (turn, place) of none, one period back or one on of each circle.

    >>> whole_turns(torch.tensor([math.inf, 2.0]))
    tensor([[ 0.,  0.],
            [ 0., -2.],
            [ 0.,  2.]])
    """
    steps = [[p * t for t in TURNS] if math.isfinite(p) else [0.0] for p in periods.tolist()]
    return torch.tensor(list(product(*steps)), dtype=periods.dtype)
