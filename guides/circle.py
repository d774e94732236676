"""Guides on the circle: any family, on a line that is cut where the angle is least likely.

A distribution on a fixed line has a seam: at an angle of 0 its mean would have to jump. Here the
circle is cut open opposite to a heading that is read off each observation, and what the family
gives is carried onto that line, ``angle = heading + period (sigmoid(u) - 1/2)``. So densities
are exact, there is no seam near the data, and every family will do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pyro.distributions as dist
import torch
from pyro.contrib.zuko import ZukoToPyro
from torch import Tensor, nn
from torch.distributions import Transform, TransformedDistribution, constraints

from groundvae.guides.family import Family
from groundvae.models.latent import LatentSpec
from groundvae.models.normalscore import NormalScore


class CircleTransform(Transform):
    """Vectors (..., latent) of which some parts are carried onto circles, the rest kept.

    Args:
        heading: angles (..., circle) opposite to which the circles are cut.
        places: of the circles among the latents, (circle,).
        periods: of the angles, (circle,).
        lower: where each circle's range of angles begins, (circle,).

    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, heading: Tensor, places: Tensor, periods: Tensor, lower: Tensor) -> None:
        super().__init__()
        self.heading, self.places, self.periods, self.lower = heading, places, periods, lower

    def _call(self, x: Tensor) -> Tensor:
        angle = self.heading + self.periods * (torch.sigmoid(x[..., self.places]) - 0.5)
        return x.index_copy(-1, self.places, self._within(angle))

    def _inverse(self, y: Tensor) -> Tensor:
        away = (y[..., self.places] - self.heading) / self.periods + 0.5
        share = torch.remainder(away, 1.0)
        tiny = torch.finfo(share.dtype).eps  # an angle on the cut itself, by rounding
        return y.index_copy(-1, self.places, torch.logit(share, eps=tiny))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        u = x[..., self.places]
        both = nn.functional.logsigmoid(u) + nn.functional.logsigmoid(-u)
        return (both + torch.log(self.periods)).sum(-1)

    def line(self, angle: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Values (..., latent) and their ``spread`` on the line, near the heading."""
        steepest = self.periods / 4
        narrow = spread.index_copy(-1, self.places, spread[..., self.places] / steepest)
        return self.inv(angle), narrow

    def _within(self, angle: Tensor) -> Tensor:
        return self.lower + torch.remainder(angle - self.lower, self.periods)


class ScoresOntoCircles(Transform):
    """Vectors (..., observation, latent) whose ``circles``, by place, are scores made angles."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, circles: Mapping[int, NormalScore]) -> None:
        super().__init__()
        self.circles = circles

    def _call(self, x: Tensor) -> Tensor:
        return self._each(x, lambda score, u: score.value(u))

    def _inverse(self, y: Tensor) -> Tensor:
        return self._each(y, lambda score, angle: score.score(angle))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log of the determinant, (..., observation)."""
        slopes = [s.log_slope(x[..., i], y[..., i]) for i, s in self.circles.items()]
        return torch.stack(slopes).sum(0)

    def _each(self, at: Tensor, of: Callable[[NormalScore, Tensor], Tensor]) -> Tensor:
        parts = list(at.unbind(-1))
        for i, score in self.circles.items():
            parts[i] = of(score, parts[i])
        return torch.stack(parts, -1)


class Circles(nn.Module):
    """Which latents live on circles, and how to cut those open."""

    places: Tensor
    periods: Tensor
    lower: Tensor

    def __init__(self, spec: LatentSpec) -> None:
        super().__init__()
        circles = [(i, z) for i, z in enumerate(spec) if z.circular]
        places = torch.tensor([i for i, _ in circles], dtype=torch.long)
        periods = [float(z.period or 0) for _, z in circles]
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("periods", torch.tensor(periods), persistent=False)
        self.register_buffer("lower", torch.tensor([z.lower for _, z in circles]), persistent=False)

    def cut(self, heading: Tensor) -> CircleTransform:
        """Every circle cut open opposite to its ``heading`` (..., circle)."""
        return CircleTransform(heading, self.places, self.periods, self.lower)


class CircularFamily(Circles):
    """A family of which the circular latents live on their circles; the gradient flows on.

    Args:
        family: of all the physics latents, and of others behind them.
        features: number of features of an observation.
        spec: says which latents are circular.
        axis: places of the cosine and sine of a full turn a period, if the features hold them.

    """

    def __init__(
        self,
        family: Family,
        features: int,
        spec: LatentSpec,
        axis: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(spec)
        self.family = family
        self.heading = nn.Linear(features, 2 * len(self.places))
        if axis is not None:
            with torch.no_grad():
                self.heading.weight.zero_()
                self.heading.bias.zero_()
                self.heading.weight[0::2, axis[0]] = 1.0
                self.heading.weight[1::2, axis[1]] = 1.0

    def forward(self, features: Tensor) -> dist.TorchDistribution:
        cos, sin = self.heading(features).unflatten(-1, (-1, 2)).unbind(-1)
        heading = torch.atan2(sin, cos) * self.periods / (2 * math.pi)
        onto = self.cut(heading)
        base = self.family(features)
        if isinstance(base, ZukoToPyro):
            return ZukoToPyro(TransformedDistribution(base.dist, [onto]))
        return OnCircles(base, [onto])


class OnCircles(dist.TransformedDistribution):
    """With a mean and a spread: those of the line, carried onto the circle."""

    @property
    def stddev(self) -> Tensor:
        line, onto = self.base_dist, self.transforms[0]
        share = torch.sigmoid(line.mean[..., onto.places])
        slope = onto.periods * share * (1 - share)
        sd: Tensor = line.stddev
        return sd.index_copy(-1, onto.places, slope * sd[..., onto.places])

    @property
    def mean(self) -> Tensor:
        carried: Tensor = self.transforms[0](self.base_dist.mean)
        return carried


def around(
    family: Family, features: int, spec: LatentSpec, axis: tuple[int, int] | None
) -> Family | CircularFamily:
    """The family as it is where no latent is circular, else with those on their circles."""
    if not any(z.circular for z in spec):
        return family
    return CircularFamily(family, features, spec, axis)
