"""White Gaussian noise beside errors that were stated, and of values that were censored."""

from __future__ import annotations

import math
from typing import cast

import pyro.distributions as dist
import torch
from torch import Tensor

from groundvae.models.noises.white import White

SAMPLES = 50_000  # that tell a scale; more tell it no better than needed
LOWEST = 1e-4  # of the root mean square of what is left, the least scale that is tried
TRIED, ROUNDS = 33, 3  # scales at once, each time between the neighbours of the best before
Shape = torch.Size | list[int] | tuple[int, ...]
FAINT = 1e-4  # of a seen sample's information, that a censored one has at least


class CensoredNormal(dist.Normal):
    """A normal sample, or what is known of one that lies beyond a limit.

    ``side`` (...), of the shape of the values: 0 where the value was seen, -1 where it lies below
    the limit that is given in its place, 1 where above; there the density is the mass beyond.
    Draws are of the values themselves. Source: Tobin (1958), Estimation of relationships for
    limited dependent variables.

    >>> below = CensoredNormal(torch.zeros(1), torch.ones(1), torch.tensor([-1.0]))
    >>> round(below.log_prob(torch.zeros(1)).exp().item(), 6)
    0.5
    """

    def __init__(self, loc: Tensor, scale: Tensor, side: Tensor) -> None:
        self.side = side
        super().__init__(loc, scale, validate_args=False)

    def expand(self, batch_shape: Shape, _instance: object = None) -> CensoredNormal:
        loc, scale, side = (v.expand(batch_shape) for v in (self.loc, self.scale, self.side))
        return CensoredNormal(loc, scale, side)

    def log_prob(self, value: Tensor) -> Tensor:
        beyond = torch.special.log_ndtr(-self.side * (value - self.loc) / self.scale)
        return torch.where(self.side == 0, super().log_prob(value), beyond)


class Stated(White):
    """A Gaussian noise as some observations meet it, whose samples are not measured alike.

    The variance of a sample is the square of its stated error plus that of the noise's own scale,
    which is what the model and the stated errors leave: it goes to nothing where they are right.
    Source: Hogg, Bovy & Lang (2010), Data analysis recipes: fitting a model to data, section 8.

    Args:
        noise: of one scale, or of one for each channel, which stays the one that is learned.
        error: (observation, *event), standard deviations in the data's units; None: none stated.
        censored: (observation, *event): 1 where the value lies above, -1 where below what is given.

    """

    def __init__(self, noise: White, error: Tensor | None, censored: Tensor | None) -> None:
        super().__init__(noise.rate_multiplier)
        self.log_scale = noise.log_scale  # the same parameter
        self._noise = (noise,)  # no part of this one: not to be found twice
        self.error, self.censored = error, censored

    def deviation(self, like: Tensor) -> Tensor:
        """Standard deviations of the shape of ``like``, (..., observation, *event)."""
        if self.error is None:
            return self.scale.expand(like.shape)
        return (self.scale**2 + self.error**2).sqrt().expand(like.shape)

    def each(self, mean: Tensor, observed: Tensor | None = None) -> dist.TorchDistribution:
        deviation = self.deviation(mean)
        if self.censored is None:
            return dist.Normal(mean, deviation)
        return CensoredNormal(mean, deviation, self.censored)

    def sample(self, mean: Tensor, *, times: Tensor | None = None) -> Tensor:
        return cast(Tensor, dist.Normal(mean, self.deviation(mean)).sample())

    def score(self, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        deviation = self.deviation(x)
        off = (x - mean) / deviation
        if self.censored is None:
            return off, 1 / deviation
        hazard, share = self._beyond(off)
        root = share.clamp(min=FAINT).sqrt()
        seen = self.censored == 0
        slope = torch.where(seen, off, self.censored * hazard / root)
        return slope, torch.where(seen, torch.ones_like(root), root) / deviation

    def _beyond(self, off: Tensor) -> tuple[Tensor, Tensor]:
        """Of whitened limits: the slope of the log mass, and minus its curvature, both above 0."""
        assert self.censored is not None
        inside = -self.censored * off
        density = -0.5 * inside.square() - 0.5 * math.log(2 * math.pi)
        hazard = (density - torch.special.log_ndtr(inside)).exp()
        return hazard, hazard * (hazard + inside)

    @torch.no_grad()
    def refit(
        self,
        off: Tensor,
        freedom: Tensor,
        observed: Tensor | None = None,
        usual: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> None:
        if usual is None:
            super().refit(off, freedom, observed, times=times)
            return
        error, censored, seen = (
            None if each is None else each[usual] for each in (self.error, self.censored, observed)
        )
        some = Stated(self._noise[0], error, censored)
        some.refit(off[usual], freedom[usual], seen, times=times)

    def _refit(
        self, off: Tensor, observed: Tensor | None, ratio: float, times: Tensor | None
    ) -> None:
        """What is left of a censored sample is expected beyond its limit (Dempster et al. 1977)."""
        if not self.log_scale.requires_grad:
            return
        square = ratio * off.double().square()
        if self.censored is not None:
            deviation = self.deviation(off)
            hazard, _ = self._beyond(off / deviation)
            expected = deviation**2 * (1 + self.censored * off / deviation * hazard)
            square = torch.where(self.censored == 0, square, expected.double().clamp(min=0.0))
        there = torch.ones_like(off, dtype=torch.bool) if observed is None else observed
        variance = torch.zeros_like(off) if self.error is None else self.error**2
        if self.log_scale.dim() == 0:
            self.log_scale.fill_(self._log(_likeliest(square[there], variance[there])))
            return
        for channel in range(len(self.log_scale)):
            seen = there[..., channel]
            if bool(seen.any()):
                scale = _likeliest(square[..., channel][seen], variance[..., channel][seen])
                self.log_scale[channel] = self._log(scale)


def _likeliest(square: Tensor, variance: Tensor) -> float:
    """The scale that, beside known variances (sample,), makes squares (sample,) likeliest."""
    stride = math.ceil(len(square) / SAMPLES)
    square, variance = square[::stride].double(), variance[::stride].double()
    most = max(float(square.mean()), 1e-300) ** 0.5
    if not bool(variance.any()):
        return most
    low, high = math.log(LOWEST * most), math.log(most)
    best = high
    for _ in range(ROUNDS):
        tried = torch.linspace(low, high, TRIED, dtype=torch.double, device=square.device)
        total = (2 * tried).exp().unsqueeze(-1) + variance
        best = float(tried[(total.log() + square / total).mean(-1).argmin()])
        gap = (high - low) / (TRIED - 1)
        low, high = best - gap, min(best + gap, math.log(most))
    return math.exp(best)
