"""Normal scores: a latent as a function of a standard normal one, whatever its prior.

In these coordinates every prior is N(0, 1) exactly, so a Laplace approximation is wrong about the
likelihood alone. ``value = quantile(Phi(u))``; the quantiles are the prior's own where it has them,
else those of a fine table of its density.
"""

from __future__ import annotations

import math
from copy import copy

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import biject_to

GRID = 4001  # points of a table
FAR = 12.0  # where a table ends, unconstrained, from the prior's middle in its spreads
TAIL = 8.0  # standard deviations at which a score ends in double precision


class NormalScore:
    """The map between a scalar latent of ``prior`` and its normal score.

    >>> from pyro.distributions import Gamma, Uniform
    >>> score = NormalScore(Uniform(1.0, 3.0))
    >>> score.value(torch.tensor(0.0))
    tensor(2.)
    >>> gamma = NormalScore(Gamma(torch.tensor(2.0).double(), torch.tensor(1.0).double()))
    >>> u = torch.tensor([-1.0, 0.5]).double()
    >>> bool((gamma.score(gamma.value(u)) - u).abs().max() < 1e-5)
    True
    """

    def __init__(self, prior: TorchDistribution) -> None:
        self.prior = prior
        self.table: tuple[Tensor, Tensor] | None = None
        try:
            prior.icdf(torch.tensor(0.5))
            prior.cdf(prior.icdf(torch.tensor(0.5)))
        except NotImplementedError:
            self.table = _table(prior)

    def value(self, u: Tensor) -> Tensor:
        """The latent (...) of scores (...)."""
        if self.table is None:
            value: Tensor = self.prior.icdf(_share(u))
            return value
        scores, free = self.table
        return biject_to(self.prior.support)(_interpolate(u, scores.to(u), free.to(u)))

    def score(self, value: Tensor) -> Tensor:
        """The inverse of ``value``."""
        if self.table is None:
            return torch.special.ndtri(self.prior.cdf(value))
        scores, free = self.table
        at = biject_to(self.prior.support).inv(value)
        return _interpolate(at, free.to(value), scores.to(value))

    def log_slope(self, u: Tensor, value: Tensor) -> Tensor:
        """Log d value / d u, from the two densities."""
        log_slope: Tensor = _standard(u) - self.prior.log_prob(value)
        return log_slope

    def __getitem__(self, rows: Tensor) -> NormalScore:
        """That of some observations: the same for all of them."""
        return self

    def put(self, rows: Tensor, some: NormalScore) -> NormalScore:
        """The same, with that of ``some`` observations in the places ``rows``."""
        return self


class CircleScore(NormalScore):
    """The same for an angle whose prior spans its circle: a line, cut opposite to a heading.

    The cut is opposite by the prior's mass: half of it lies on either side of the heading.

    Args:
        prior: of the angle.
        heading: angles (observation,), where scores are zero.

    >>> from pyro.distributions import Uniform
    >>> score = CircleScore(Uniform(0.0, 2.0), torch.tensor([1.9]))
    >>> [round(float(score.value(torch.tensor(u))), 3) for u in (0.0, 1.0, -20.0)]
    [1.9, 0.583, 0.9]

    """

    def __init__(self, prior: TorchDistribution, heading: Tensor) -> None:
        super().__init__(prior)
        self.heading = heading
        self._before = self._share_of(heading) - 0.5

    def value(self, u: Tensor) -> Tensor:
        share = torch.remainder(self._before + torch.special.ndtr(u), 1.0)
        if self.table is None:
            value: Tensor = self.prior.icdf(share)
            return value
        return super().value(torch.special.ndtri(_inside(share)))

    def score(self, value: Tensor) -> Tensor:
        share = torch.remainder(self._share_of(value) - self._before, 1.0)
        return torch.special.ndtri(_inside(share))

    def __getitem__(self, rows: Tensor) -> CircleScore:
        return self._about(self.heading[rows])

    def put(self, rows: Tensor, some: NormalScore) -> CircleScore:
        assert isinstance(some, CircleScore)
        return self._about(self.heading.index_copy(0, rows, some.heading))

    def _about(self, heading: Tensor) -> CircleScore:
        other = copy(self)
        other.heading, other._before = heading, self._share_of(heading) - 0.5
        return other

    def _share_of(self, value: Tensor) -> Tensor:
        """The prior's mass up to an angle."""
        if self.table is None:
            share: Tensor = self.prior.cdf(value)
            return share
        return torch.special.ndtr(super().score(value))


def _standard(u: Tensor) -> Tensor:
    return -0.5 * (u**2 + math.log(2 * math.pi))


def _share(u: Tensor) -> Tensor:
    """``Phi(u)``, kept off 0 and 1 by what a number can tell from them."""
    return _inside(torch.special.ndtr(u))


def _inside(share: Tensor) -> Tensor:
    """Shares kept off 0 and 1; the gradient is that of the share."""
    tiny = torch.finfo(share.dtype).eps
    with torch.no_grad():
        inside = share.clamp(tiny, 1 - tiny) - share
    return share + inside


def _table(prior: TorchDistribution) -> tuple[Tensor, Tensor]:
    """Scores, and the unconstrained values that have them, both ascending."""
    bijector = biject_to(prior.support)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = bijector.inv(prior.sample(torch.Size([2000]))).double()
    middle, spread = drawn.median(), drawn.std()
    free = middle + spread * torch.linspace(-FAR, FAR, GRID, dtype=torch.float64).to(middle)
    value = bijector(free)
    log_density = prior.log_prob(value) + bijector.log_abs_det_jacobian(free, value)
    density = torch.exp(log_density.nan_to_num(nan=-torch.inf))
    mass = torch.cumulative_trapezoid(density, free)
    above = torch.flip(torch.cumulative_trapezoid(density.flip(0), free), (0,))
    total = mass[-1]
    low, high = torch.special.ndtri(mass / total), -torch.special.ndtri(above / total)
    scores = torch.where(mass < total / 2, low, torch.cat([high[1:], high[-1:]]))
    keep = torch.isfinite(scores) & (scores.abs() < TAIL)
    keep &= torch.cat([keep[:1], torch.diff(scores) > 0])
    return scores[keep], free[1:][keep]


def _interpolate(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Straight lines through (x, y), ascending, carried on beyond both ends."""
    last = torch.searchsorted(x, at.detach().contiguous()).clamp(1, len(x) - 1)
    share = (at - x[last - 1]) / (x[last] - x[last - 1])
    return y[last - 1] + share * (y[last] - y[last - 1])
