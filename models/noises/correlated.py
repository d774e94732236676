"""Noise of images whose pixels and bands know their neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from groundvae.models.noises.cosine import cosine, inverse
from groundvae.models.noises.covariance import Covariance
from groundvae.models.noises.dependent import Dependent
from groundvae.models.noises.evidence import maximize
from groundvae.models.noises.incomplete import Incomplete
from groundvae.models.noises.spectrum import Spectrum, radius
from groundvae.models.noises.stationary import Stationary

POOLS = 16  # of frequencies, between two knots of the spectrum
ROUNDS = 6  # of expectation maximization, where pixels are missing


class Correlated(Dependent):
    """Gaussian noise of images (row, column, channel): a radial spectrum, bands, and white.

    Without ``channels``, images are (row, column). The covariance is, exactly,
    ``C = T^T (scale^2 (share s(f) B + (1 - share) D)) T``: T the orthonormal cosine transform,
    s the spectrum of mean power 1 (log-linear between ``knots`` of radial frequency), B the
    covariance of bands, D the detector's variances. It is that of a stationary field mirrored at
    its edges: ``C(i, j) = g(i - j) + g(i + j + 1)`` along each axis. Opposite edges never touch;
    within a correlation length of an edge the smooth variance is up to twice (in a corner four
    times) that of the middle, so pixels there count for less. Scaling that away fits stationary
    fields worse (2 against 6 nats from one of 24 x 24 pixels and length 8), so it is left.

    With ``own_spectra``, bands are mixed from as many fields, each with a spectrum of its own,
    ``s(f) B`` is ``A diag(s(f)) A^T``: where colours vary otherwise than brightness does.

    Begins as white noise of one scale. ``hold`` holds the scale, its shape is learned on.

    >>> noise = Correlated(3, scale=0.5)
    >>> noise(torch.zeros(4, 6, 5, 3), event_dim=3).sample().shape
    torch.Size([4, 6, 5, 3])

    Raises:
        InputError: an argument is out of its range, or data have other axes or channels.

    """

    axes: ClassVar[tuple[str, ...]] = ("row", "column")

    def __init__(
        self,
        channels: int | None = 3,
        scale: float = 0.1,
        *,
        share: float = 0.5,
        knots: int = 8,
        rate_multiplier: float = 1.0,
        independent: bool = False,
        own_spectra: bool = False,
        own_scales: bool = False,
    ) -> None:
        super().__init__(
            channels, scale, share, rate_multiplier, independent, own_spectra, own_scales
        )
        fields = (channels or 1) if own_spectra else None
        self.spectrum = Spectrum(knots, fields, dimensions=len(self.axes))
        self._hold_shape()

    def covariance(
        self, shape: torch.Size, observed: Tensor | None = None, times: Tensor | None = None
    ) -> Covariance:
        whole = Stationary(self.power(self.spectrum(*shape[:2])))
        return whole if observed is None else Incomplete(whole, observed)

    def whitened(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Tensor:
        """Back from whitened cosines to pixels, by a transform that keeps them white."""
        residual = super().linearize(x, mean, observed, times=times).residual
        rows, columns, channels = self.folded(x).shape[1:]
        spectra = residual.view(len(x), channels, rows, columns)
        return inverse(spectra).movedim(-3, -1).reshape(x.shape)

    def power(self, smooth: Tensor) -> Tensor:
        """Covariances (..., channel, channel) where the smooth part's spectrum is (...)."""
        scale = (self.rate_multiplier * self.log_scale.double()).exp()
        return scale**2 * self.channels.covariances(smooth)

    def _refit(
        self, off: Tensor, observed: Tensor | None, ratio: float, times: Tensor | None
    ) -> None:
        """From the periodogram; missing pixels are drawn given the others and the last fit."""
        values = self.folded(off)
        if observed is None or bool(observed.all()):
            maximize(self, self._pool(values, ratio).density, values.numel())
            return
        there = self.folded(observed)
        generator = torch.Generator(off.device).manual_seed(0)
        for _ in range(ROUNDS):
            filled = self._filled(values * there, there, generator)
            maximize(self, self._pool(filled, ratio).density, values.numel())

    def _filled(self, values: Tensor, there: Tensor, generator: torch.Generator) -> Tensor:
        """Images with their missing pixels drawn: a draw of all, corrected by what is there.

        Source: Matheron's rule, see Wilson et al. (2020), section 3.
        """
        covariance = Incomplete(Stationary(self.power(self.spectrum(*values.shape[1:3]))), there)
        white = torch.randn(
            values.shape, generator=generator, dtype=values.dtype, device=values.device
        )
        drawn = covariance.color(white)
        return covariance.impute(values - drawn) + drawn

    def _pool(self, values: Tensor, ratio: float) -> _Periodogram:
        """The periodogram of images (observation, row, column, channel), by radial frequency."""
        spectra = cosine(values.movedim(-1, -3).double())
        each = torch.einsum("nakl,nbkl->klab", spectra, spectra).flatten(0, 1) * (
            ratio / len(values)
        )
        place = self.spectrum.place(radius(values.shape[1], values.shape[2], values)).flatten()
        _, pool, count = torch.unique(
            (POOLS * place).round(), return_inverse=True, return_counts=True
        )
        weight = count.double()
        means = [
            torch.zeros(len(count), *part.shape[1:], dtype=torch.float64, device=place.device)
            .index_add_(0, pool, part)
            .div_(weight.view(-1, *[1] * (part.dim() - 1)))
            for part in (place, each)
        ]
        return _Periodogram(means[0], means[1], weight)


@dataclass(frozen=True)
class _Periodogram:
    """Mean outer products of cosines over channels, ``power`` (pool, channel, channel).

    ``place`` (pool,) among the spectrum's knots; ``weight`` (pool,), how many cosines each has.
    """

    place: Tensor
    power: Tensor
    weight: Tensor

    def density(self, noise: Correlated) -> Tensor:
        """Log density, nats a sample."""
        model = Stationary(noise.power(noise.spectrum.at(self.place)).unsqueeze(1))
        square = (model.unpower.squeeze(1) * self.power).sum((-2, -1))
        log_det = 2 * model.factor.squeeze(1).diagonal(dim1=-2, dim2=-1).log().sum(-1)
        total = (self.weight * (square + log_det)).sum()
        samples = self.weight.sum() * self.power.shape[-1]
        return -0.5 * (total / samples + math.log(2 * math.pi))
