"""Noise of series whose power over frequency may be any."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from groundvae.data.errors import InputError
from groundvae.models.noises.correlated import Correlated
from groundvae.models.noises.covariance import Covariance

UNEVEN = 1e-3  # of a gap, by which gaps may differ


class Spectral(Correlated):
    """``Correlated`` noise of series (time, channel), or (time,) without ``channels``.

    Its spectrum is log-linear between ``knots``, so it need not fall with frequency, as that of
    ``Matern`` does: what a smooth model leaves has little power where the model has much. Times are
    even, and mirrored at both ends, as images are at their edges.

    >>> noise = Spectral(3, scale=0.5)
    >>> noise(torch.zeros(4, 7, 3), event_dim=2, times=torch.arange(7.0)).sample().shape
    torch.Size([4, 7, 3])

    Raises:
        InputError: an argument is out of its range, times are not even, or data have other axes.

    """

    axes: ClassVar[tuple[str, ...]] = ("time",)

    def __init__(
        self,
        channels: int | None = None,
        scale: float = 0.1,
        *,
        share: float = 0.9,
        knots: int = 10,
        rate_multiplier: float = 1.0,
        independent: bool = False,
        own_spectra: bool = True,
        own_scales: bool = True,
    ) -> None:
        super().__init__(
            channels,
            scale,
            share=share,
            knots=knots,
            rate_multiplier=rate_multiplier,
            independent=independent,
            own_spectra=own_spectra,
            own_scales=own_scales,
        )

    @property
    def depth(self) -> int:
        return 3

    def folded(self, values: Tensor) -> Tensor:
        """As images of one column, (..., time, 1, channel)."""
        return super().folded(values).unsqueeze(-2)

    def covariance(
        self, shape: torch.Size, observed: Tensor | None = None, times: Tensor | None = None
    ) -> Covariance:
        """As of images, for even times.

        Raises:
            InputError: times are not even.

        """
        if times is not None and times.shape[-1] > 1:
            gaps = times.double().diff(dim=-1)
            if not bool(((gaps / gaps.mean(-1, keepdim=True) - 1).abs() < UNEVEN).all()):
                raise InputError(
                    "times of the data are uneven, which Spectral noise does not take, expected "
                    "even times, or Matern noise"
                )
        return super().covariance(shape, observed, times)
