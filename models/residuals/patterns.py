"""The patterns of space and time that a source is made of, and the knots of their spectrum.

Products of half waves along either axis, over windows longer than the data: a Gaussian process of
unknown spectrum. Source: Solin & Sarkka (2020), Hilbert space methods for reduced-rank Gaussian
process regression.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import pandas as pd
import torch
from torch import Tensor

from groundvae.models.residuals.spectrum import KNOT, hats

STRETCH = 1.2  # of the windows over the data's
EDGE = 0.5 * (STRETCH - 1)  # of the line, by which the window begins in front of it


@dataclass(frozen=True)
class Patterns:
    """``cos(pi i t / span) cos(pi j s / width)`` of all ``(i / most)^2 + (j / most)^2 <= 1``.

    The constant comes first.

    Args:
        span: length of the window in time, s.
        most: half waves along an axis at most; no pattern at all where 0.
        points: of the line.
        finer: the window in time is so many times as long, and patterns are no faster.

    >>> patterns = Patterns(1.2, 2, points=5)
    >>> patterns.count, tuple(patterns.of(torch.zeros(3)).shape)
    (6, (3, 5, 6))

    """

    span: float
    most: int
    points: int
    finer: int = 1

    @property
    def orders(self) -> Tensor:
        """Half waves in time, in the window of the data, and in space, (2, pattern), float64."""
        return _orders(self.most, self.finer)

    @property
    def count(self) -> int:
        """Number of patterns."""
        return self.orders.shape[1]

    @property
    def knots(self) -> int:
        """How many knots the log power has."""
        return self._side**2

    @property
    def _side(self) -> int:
        return math.ceil(self.most / KNOT) + 1

    def of(self, times: Tensor) -> Tensor:
        """The patterns at ``times`` (...), s, on all points, (..., point, pattern)."""
        along, across = self.orders.to(times)
        place = torch.linspace(EDGE, 1 + EDGE, self.points, dtype=times.dtype).to(times) / STRETCH
        in_time = torch.cos(math.pi * along * times.unsqueeze(-1) / self.span)
        in_space = torch.cos(math.pi * across * place.unsqueeze(-1))
        return in_time.unsqueeze(-2) * in_space

    @property
    def hats(self) -> Tensor:
        """How much of each knot's log power a pattern after the constant has, (pattern, knot)."""
        along, across = (hats(1 + each[1:], self._side) for each in self.orders)
        return (along.unsqueeze(-1) * across.unsqueeze(-2)).flatten(1)

    def level(self, square: Tensor) -> Tensor:
        """Log power at the knots (..., knot) at which patterns of any order would do as much.

        Falling with the order: what is as fine as white noise is noise, where both explain it.

        Args:
            square: of what each pattern of weight one does, (..., pattern).

        """
        order, share = self.orders[:, 1:].to(square).square().sum(0), self.hats.to(square)
        found = torch.log(order * square[..., 1:]) @ share
        return -found / share.sum(0).clamp(min=1e-9)

    def table(self, variance: Tensor) -> pd.DataFrame:
        """``frequency`` (1/s) and ``amplitude``, the standard deviation of all its patterns.

        Args:
            variance: of each pattern's weight (pattern,).

        """
        frequency = self.orders[0] / (2 * self.span)
        rows = pd.DataFrame({"frequency": frequency.numpy(), "power": variance.numpy()})
        power = rows.groupby("frequency", as_index=False).sum()
        return power.assign(amplitude=power.pop("power") ** 0.5)


@cache
def _orders(most: int, finer: int) -> Tensor:
    """Made once: a law is asked for its patterns at every stage of every step."""
    if not most:
        return torch.zeros(2, 0, dtype=torch.double)
    along = torch.arange(most * finer + 1).double() / finer
    pairs = torch.cartesian_prod(along, torch.arange(most + 1).double())
    return pairs[pairs.square().sum(1) <= most**2].T
