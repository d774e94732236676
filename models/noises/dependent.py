"""Gaussian noise whose samples know each other: all that follows from a covariance."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from groundvae.data.errors import InputError
from groundvae.models.noises.channels import Channels
from groundvae.models.noises.covariance import Covariance
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.noises.independent import Independent
from groundvae.models.noises.noise import Linearized, Noise
from groundvae.models.noises.ownscales import OwnScales
from groundvae.models.recipe import EVIDENCE

Shape = torch.Size | list[int] | tuple[int, ...]


class Dependent(Noise):
    """Zero-mean Gaussian noise, smooth along ``axes``, between channels, and white besides.

    The covariance is ``scale^2 (share * R x B + (1 - share) * I x D)``: ``R`` the correlations
    along the axes, ``B`` the covariance of channels (its mean variance 1), ``D`` the variances
    of the detector's white noise (their mean 1). Without ``channels``, events have no last axis
    of them.

    ``independent``: to be trusted for how much samples say together, not for every detail. A model
    that is never right to the last pixel pays for that at once where the noise has little power,
    and its modes run away from the truth. So its latents are found by least squares, as if samples
    were independent, and their covariance is what this noise makes of that: ``H^-1 V H^-1``, with
    ``V`` the variance of the score. The noise is then white until its first ``refit``, and moved by
    that alone.
    Source: Liang & Zeger (1986), Longitudinal data analysis using generalized linear models.

    ``own_scales``: how far an observation is off as a whole is its own, see ``OwnScales``. Its
    density and draws are those of a multivariate t; what is whitened is whitened by the covariance.
    """

    axes: ClassVar[tuple[str, ...]]
    recipe = EVIDENCE

    fitted: Tensor

    def __init__(
        self,
        channels: int | None,
        scale: float,
        share: float,
        rate_multiplier: float,
        independent: bool,
        mixed: bool = False,
        own_scales: bool = False,
    ) -> None:
        super().__init__(rate_multiplier)
        self.independent = independent
        self.register_buffer("fitted", torch.tensor(not independent), persistent=independent)
        self.log_scale = nn.Parameter(torch.tensor(self._log(scale)))
        self.has_channels = channels is not None
        self.channels = Channels(channels or 1, share, mixed=mixed)
        self.scales = OwnScales() if own_scales else None

    @property
    def event_dim(self) -> int:
        return len(self.axes) + self.has_channels

    @property
    def depth(self) -> int:
        """Axes of an observation that is ``folded``."""
        return len(self.axes) + 1

    @property
    def knows_neighbours(self) -> bool:
        return not self.independent

    @property
    def working(self) -> Noise:
        if not self.independent:
            return self
        white = Gaussian(rate_multiplier=self.rate_multiplier)
        white.log_scale = self.log_scale
        return white

    def learned(self) -> list[nn.Parameter]:
        for each in self._shape() if self.independent else ():
            each.requires_grad_()
        return super().learned()

    def _shape(self) -> list[nn.Parameter]:
        return [each for each in self.parameters() if each is not self.log_scale]

    def _hold_shape(self) -> None:
        """Leave the shape to ``refit``, where it is independent."""
        for each in self._shape() if self.independent else ():
            each.requires_grad_(False)

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
        self.fitted.fill_(value=True)
        super().refit(off, freedom, observed, usual, times=times)
        if self.scales is not None:
            square, samples = self._square(off, observed, times)
            self.scales.refit(square * (samples / freedom), samples)

    @torch.no_grad()
    def score_factor(self, jacobian: Tensor, like: Tensor, times: Tensor | None = None) -> Tensor:
        """A Jacobian (observation, value, latent), whitened by ``working``, as this noise sees it.

        Its Gram matrix is the variance of the working noise's score. ``like`` is of the data's
        shape (observation, *event).
        """
        shape = self.folded(like).shape
        columns = jacobian.movedim(-1, 0).unflatten(-1, shape[1:])
        covariance = self._covariance(columns, None, times)
        with torch.enable_grad():  # the transpose of what colours is its gradient
            leaf = torch.zeros_like(columns).requires_grad_()
            (found,) = torch.autograd.grad(covariance.color(leaf), leaf, columns)
        return found.flatten(2).movedim(0, -1) / self.scale

    @property
    def channel_scale(self) -> Tensor:
        """Standard deviation of each channel, (channel,)."""
        return self.scale * self.channels.variances().sqrt().to(self.scale)

    @abstractmethod
    def covariance(
        self, shape: torch.Size, observed: Tensor | None = None, times: Tensor | None = None
    ) -> Covariance:
        """The covariance of observations of ``shape`` (*axes, channel).

        ``observed`` (observation, *axes, channel), ``times`` as given.
        """

    def forward(
        self,
        mean: Tensor,
        *,
        event_dim: int,
        observed: Tensor | None = None,
        times: Tensor | None = None,
    ) -> TorchDistribution:
        if event_dim != self.event_dim:
            raise InputError(
                f"noise along {' and '.join(self.axes)} needs events of {self.event_dim} axes, "
                f"not {event_dim}"
            )
        return DependentNormal(self, mean, observed, times)

    @torch.no_grad()
    def linearize(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Linearized:
        off = self.folded(x - mean)
        covariance = self._covariance(off, observed, times)
        shape = off.shape[1:]

        @torch.no_grad()
        def whiten(jacobian: Tensor) -> Tensor:
            columns = jacobian.movedim(-1, 0).unflatten(-1, shape)
            return covariance.whiten(columns).flatten(2).movedim(0, -1)

        return Linearized(covariance.whiten(off).flatten(1), whiten)

    def density(self, off: Tensor, observed: Tensor | None, times: Tensor | None) -> Tensor:
        """Log density (..., observation) of ``x - mean``."""
        square, samples = self._square(off, observed, times)
        log_det = self._covariance(self.folded(off), observed, times).log_det().to(square)
        if self.scales is not None and self.fitted:
            return self.scales.density(square, log_det, samples)
        return -0.5 * (square + log_det + samples * math.log(2 * math.pi))

    def _square(
        self, off: Tensor, observed: Tensor | None, times: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Squares (..., observation) of ``off``, whitened, and of how many samples they are."""
        values = self.folded(off)
        first = values.dim() - self.depth
        whitened = self._covariance(values, observed, times).whiten(values)
        square = whitened.square().flatten(first).sum(-1)
        if observed is not None:
            return square, observed.flatten(-self.event_dim).sum(-1).to(square)
        return square, square.new_full(square.shape, math.prod(values.shape[first:]))

    @torch.no_grad()
    def pointwise(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Tensor:
        """Leave-one-out: a sample given the others of its observation is off by ``u / d``.

        ``u = C^-1 (x - mean)``, ``d`` the diagonal of ``C^-1``, the inverse of its variance. No
        gradient.
        Source: Sundararajan & Keerthi (2001), eq. 14.
        """
        away = x - mean
        off = self.folded(away)
        found, diagonal = self._covariance(off, observed, times).precision(off)
        if self.scales is not None and self.fitted:
            square, samples = (
                each.view(*each.shape, *[1] * self.depth)
                for each in self._square(away, observed, times)
            )
            density = self.scales.left_out(square, found / diagonal, 1 / diagonal, samples - 1)
        else:
            density = -0.5 * (found.square() / diagonal - diagonal.log() + math.log(2 * math.pi))
        density = density.reshape(away.shape)
        return density if observed is None else density.masked_fill(~observed, torch.nan)

    def sample(self, mean: Tensor, *, times: Tensor | None = None) -> Tensor:
        white = self.folded(torch.randn_like(mean))
        colored = self._covariance(white, None, times).color(white)
        if self.scales is not None and self.fitted:
            lead = mean.shape[: mean.dim() - self.event_dim]
            own = self.scales.sample(lead, mean)
            colored = own.view(*lead, *[1] * self.depth) * colored
        return mean + colored.reshape(mean.shape)

    def folded(self, values: Tensor) -> Tensor:
        """Values (..., *axes) with an axis of channels, (..., *axes, channel).

        Raises:
            InputError: they have too few axes, or other channels.

        """
        values = values if self.has_channels else values.unsqueeze(-1)
        if values.dim() <= len(self.axes) or values.shape[-1] != self.channels.count:
            raise InputError(
                f"noise along {' and '.join(self.axes)} of {self.channels.count} channels does not "
                f"fit data whose last axes are {tuple(values.shape[-self.event_dim :])}"
            )
        return values

    def _covariance(
        self, values: Tensor, observed: Tensor | None, times: Tensor | None
    ) -> Covariance:
        there = None if observed is None else self.folded(observed)
        shape = values.shape[-self.depth :]
        if not self.fitted:
            return Independent(self.scale, shape, there)
        return self.covariance(shape, there, times)


class DependentNormal(TorchDistribution):
    """The distribution of ``x`` (..., observation, *event) under a dependent noise."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = True

    def __init__(
        self,
        noise: Dependent,
        mean: Tensor,
        observed: Tensor | None = None,
        times: Tensor | None = None,
    ) -> None:
        self.noise, self.mean_, self.observed, self.times = noise, mean, observed, times
        lead = mean.dim() - noise.event_dim
        super().__init__(mean.shape[:lead], mean.shape[lead:], validate_args=False)

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, self.noise.event_dim)

    @property
    def mean(self) -> Tensor:
        return self.mean_

    def expand(self, batch_shape: Shape, _instance: object = None) -> DependentNormal:
        mean = self.mean_.expand(*batch_shape, *self.event_shape)
        return DependentNormal(self.noise, mean, self.observed, self.times)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        mean = self.mean_.expand(*sample_shape, *self.mean_.shape)
        return self.noise.sample(mean, times=self.times)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.noise.density(value - self.mean_, self.observed, self.times)
