"""What every observation noise can do: the likelihood of data given their noiseless decoding."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.models.recipe import USUAL, Recipe
from groundvae.models.written import Written


@dataclass(frozen=True)
class Linearized:
    """Log p(x | mean) near one mean, as least squares: what a Gauss-Newton search reads.

    ``residual`` (observation, value), in standard deviations; ``whiten`` carries a Jacobian
    (observation, value, latent) of the flattened mean to the same units, so that the gradient
    along it is ``whiten(J)^T residual`` and the Fisher information ``whiten(J)^T whiten(J)``.
    Missing values are zero in both, or no more than what the others imply. No gradient.
    """

    residual: Tensor
    whiten: Callable[[Tensor], Tensor]


class Noise(nn.Module, Written, ABC):
    """The likelihood of observations ``x`` given their noiseless ``mean``.

    Shapes, of all methods: ``mean`` (..., observation, *event), with draw axes in front or none;
    ``x`` (observation, *event); ``observed`` likewise, bool, or None where nothing is missing;
    ``times`` (time,) or (observation, time), which only noise along time reads.

    ``scale`` is ``exp(rate_multiplier * log_scale)``: Adam moves a log by no more than its
    learning rate a step, which is slow where the noise ends a hundred times below its start.

    Raises:
        InputError: ``scale`` or ``rate_multiplier`` is not positive.

    """

    log_scale: Tensor
    recipe: ClassVar[Recipe] = USUAL
    """How a model is fitted that has no residual, where nothing else is said."""

    def __init__(self, rate_multiplier: float = 1.0) -> None:
        super().__init__()
        if not 0 < rate_multiplier < math.inf:
            raise InputError(f"rate_multiplier of a noise must be above 0, not {rate_multiplier}")
        self.rate_multiplier = rate_multiplier

    def _log(self, scale: float) -> float:
        """``log_scale`` of a scale."""
        if not 0 < scale < math.inf:
            raise InputError(f"the scale of a noise must be above 0, not {scale}")
        return math.log(scale) / self.rate_multiplier

    @property
    def scale(self) -> Tensor:
        """A typical standard deviation in the data's units, () or (channel,)."""
        return (self.rate_multiplier * self.log_scale).exp()

    def prepare(self, batch: Batch) -> None:
        """Take scales from the data, before a guide is built."""

    def given(self, batch: Batch) -> Noise:
        """The noise as these observations meet it: beside stated errors, of censored values.

        Raises:
            InputError: they have such, which this noise cannot take.

        """
        if batch.error is None and batch.censored is None:
            return self
        raise InputError(
            f"the data state errors or censored values, which {type(self).__name__} noise does not "
            "take, expected Gaussian or PerChannel noise, or data without them"
        )

    @property
    def working(self) -> Noise:
        """The noise under which modes are searched: itself, where its details are to be trusted."""
        return self

    @property
    def knows_neighbours(self) -> bool:
        """Whether, in a fit by evidence, what latents take of a sample concerns others too."""
        return False

    def learned(self) -> list[nn.Parameter]:
        """What ``refit`` moves."""
        return [each for each in self.parameters() if each.requires_grad]

    @torch.no_grad()
    def hold(self, scale: float) -> None:
        """Set the scale, which is then no longer learned."""
        self.log_scale.requires_grad_(False).fill_(self._log(scale))

    @torch.no_grad()
    def sharpen(self, factor: float) -> None:
        """Multiply the scale, which goes on being learned from there."""
        self.log_scale.add_(self._log(factor))

    @abstractmethod
    def forward(
        self,
        mean: Tensor,
        *,
        event_dim: int,
        observed: Tensor | None = None,
        times: Tensor | None = None,
    ) -> TorchDistribution:
        """The distribution of ``x``; samples that are not ``observed`` add nothing.

        Raises:
            InputError: a mean whose shape or values the noise cannot have.

        """

    @abstractmethod
    def linearize(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Linearized:
        """Whitened residual and Jacobian at ``mean``, here without draw axes."""

    def whitened(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Tensor:
        """Whitened residual (observation, *event) along the axes of the data, to be looked at."""
        return self.linearize(x, mean, observed, times=times).residual.view(x.shape)

    @abstractmethod
    def pointwise(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Tensor:
        """Log density (..., observation, *event) of each sample given the others; NaN: missing."""

    @abstractmethod
    def sample(self, mean: Tensor, *, times: Tensor | None = None) -> Tensor:
        """One draw of ``x`` for every mean."""

    def log_prob(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Tensor:
        """Log density (..., observation) of what is observed."""
        noise = self(mean, event_dim=x.dim() - 1, observed=observed, times=times)
        density: Tensor = noise.log_prob(x)
        return density

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
        """Move the parameters to the fixed point of largest evidence; no gradient.

        Modes lie nearer to the data than the truth does, by what the latents took: squares are
        multiplied by samples over ``freedom``, then the likelihood is maximized.
        Source: MacKay (1992), Bayesian interpolation, eq. 4.10, its gamma subtracted.

        Args:
            off: ``x - mean`` at the modes, (observation, *event).
            freedom: samples less those that the latents took, (observation,).
            observed: which samples there are.
            usual: which observations count, (observation,) bool; None counts all.
            times: of the samples.

        """
        if usual is not None:
            off, freedom = off[usual], freedom[usual]
            observed = None if observed is None else observed[usual]
            times = times[usual] if times is not None and times.dim() > 1 else times
        samples = float(off.numel() if observed is None else observed.sum())
        left = float(freedom.sum())
        if samples > 0 and left > 0 and bool(off.any()):  # else there is nothing to learn from
            self._refit(off, observed, samples / left, times)

    @abstractmethod
    def _refit(
        self, off: Tensor, observed: Tensor | None, ratio: float, times: Tensor | None
    ) -> None:
        """Maximize the likelihood of ``off``, its squares times ``ratio``."""
