"""Noise of series whose samples know their neighbours in time."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.models.noises.chain import Chain
from groundvae.models.noises.covariance import Covariance
from groundvae.models.noises.dependent import Dependent
from groundvae.models.noises.evidence import maximize
from groundvae.models.residuals.spectrum import duration

SMOOTHNESS = (0.5, 1.5)
STEPS = 5.0  # the first length where nothing is known of the times
PART = 0.1  # of the data's span: far from it, in another unit of time, nothing is learned of it


class Matern(Dependent):
    """Gaussian noise of series (time,) or, with ``channels``, (time, channel): Matern, and white.

    The correlation over a time d is ``exp(-d / length)`` for ``smoothness`` 1/2 and
    ``(1 + a) exp(-a)``, ``a = sqrt(3) d / length``, for 3/2. Times may be uneven (None: steps of
    1). ``length``, where it is learned from, is in their unit; None: a tenth of the data's span.
    Work is linear in the number of samples.
    Source: Hartikainen & Sarkka (2010), Kalman filtering and smoothing solutions to temporal
    Gaussian process regression models.

    >>> noise = Matern(scale=0.5, smoothness=0.5)
    >>> noise(torch.zeros(4, 7), event_dim=1, times=torch.arange(7.0)).sample().shape
    torch.Size([4, 7])

    Raises:
        InputError: an argument is out of its range, times fall, or data have other axes.

    """

    axes: ClassVar[tuple[str, ...]] = ("time",)

    def __init__(
        self,
        channels: int | None = None,
        scale: float = 0.1,
        *,
        smoothness: float = 1.5,
        length: float | None = None,
        share: float = 0.5,
        rate_multiplier: float = 1.0,
        independent: bool = False,
    ) -> None:
        super().__init__(channels, scale, share, rate_multiplier, independent)
        if smoothness not in SMOOTHNESS:
            raise InputError(f"smoothness of a Matern noise must be 0.5 or 1.5, not {smoothness}")
        if length is not None and not 0 < length < math.inf:
            raise InputError(f"length of a Matern noise must be above 0, not {length}")
        self.smoothness, self.given_length = smoothness, length
        self.log_length = nn.Parameter(torch.tensor(math.log(length or STEPS)))
        self._hold_shape()

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        """Take the first length from the times, where it was not given."""
        times = batch.inputs.get("t")
        if self.given_length is None and times is not None and duration(times) > 0:
            self.log_length.fill_(math.log(PART * duration(times)))

    @property
    def length(self) -> Tensor:
        """Over which correlation is lost, in the unit of the times, ()."""
        return self.log_length.exp()

    def covariance(
        self, shape: torch.Size, observed: Tensor | None = None, times: Tensor | None = None
    ) -> Covariance:
        scale = (self.rate_multiplier * self.log_scale.double()).exp()
        share = self.channels.share
        move = self._step(self._gaps(shape[0], times))
        eye = torch.eye(shape[1], dtype=move.dtype, device=move.device)
        first = (torch.arange(move.shape[-1], device=move.device) == 0).to(move)
        loading = torch.kron(scale * share.sqrt() * self.channels.factor(), first.unsqueeze(0))
        white = scale**2 * (1 - share) * self.channels.white()
        return Chain.of(torch.kron(eye, move), loading, white, observed)

    def _gaps(self, count: int, times: Tensor | None) -> Tensor:
        """Times (..., time) since the sample before; 0 of the first."""
        if times is None:
            times = torch.arange(count, device=self.log_length.device)
        if times.shape[-1] != count:
            raise InputError(f"series have {count} samples, but there are {times.shape[-1]} times")
        gaps = times.double().diff(dim=-1)
        if not bool((gaps >= 0).all()):
            place = (~(gaps >= 0)).nonzero()[0]
            where = f" of observation {int(place[0])}" if len(place) > 1 else ""
            raise InputError(f"times must not fall, but sample {int(place[-1]) + 1}{where} does")
        return nn.functional.pad(gaps, (1, 0))

    def _step(self, gaps: Tensor) -> Tensor:
        """F (..., time, d, d) of the value and, for 3/2, its slope over sqrt(3) / length."""
        rate = self.log_length.double().neg().exp() * math.sqrt(2 * self.smoothness)
        a = rate * gaps
        decay = (-a).exp()
        if self.smoothness == SMOOTHNESS[0]:
            return decay.unsqueeze(-1).unsqueeze(-1)
        rows = [torch.stack([1 + a, a], -1), torch.stack([-a, 1 - a], -1)]
        return decay.unsqueeze(-1).unsqueeze(-1) * torch.stack(rows, -2)

    def _refit(
        self, off: Tensor, observed: Tensor | None, ratio: float, times: Tensor | None
    ) -> None:
        larger = off.double() * math.sqrt(ratio)
        samples = off.numel() if observed is None else int(observed.sum())
        maximize(
            self, lambda noise: noise.density(larger, observed, times).sum() / samples, samples
        )
