"""Encoders: from a batch to what a guide's networks read.

An encoder turns a batch into *canonical* observations (a fixed grid, gaps filled, of order
one), and canonical observations into features. A structured guide unmixes in between.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.guides.resample import resample


class SeriesEncoder(nn.Module):
    """Series on a uniform grid, and the log power spectrum of their second differences.

    The spectrum shows fast forcing that a slow, larger motion hides from a network of raw
    samples. The grid covers the times of the data it was prepared with: later samples are not
    read, however long a series is.
    """

    grid: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.register_buffer("grid", torch.linspace(0, 1, length))
        self.register_buffer("centre", torch.tensor(0.0))
        self.register_buffer("spread", torch.tensor(1.0))

    def prepare(self, batch: Batch) -> None:
        """Take the grid and the scale of the data from the training batch."""
        times = batch.inputs["t"]
        self.grid = torch.linspace(float(times[0]), float(times[-1]), self.length).to(times)
        values = batch.x if batch.observed is None else batch.x[batch.observed]
        self.centre, self.spread = values.mean(), values.std() + 1e-12

    @property
    def canonical(self) -> int:
        """Number of canonical values of one observation."""
        return self.length

    @property
    def features(self) -> int:
        return self.length + self._bins

    @property
    def _bins(self) -> int:
        return max(self.length - 2, 1)

    def read(self, batch: Batch) -> Tensor:
        """Canonical observations (observation, canonical)."""
        series = (batch.x - self.centre) / self.spread
        if batch.observed is not None:
            series = series.masked_fill(~batch.observed, 0.0)
        return resample(series, batch.inputs["t"], self.grid, batch.observed)

    def describe(self, canonical: Tensor) -> Tensor:
        """Features (..., features) of canonical observations (..., canonical)."""
        if self.length < 3:
            return torch.cat([canonical, torch.zeros_like(canonical[..., :1])], -1)
        bent = torch.diff(canonical, n=2, dim=-1)
        window = torch.hann_window(bent.shape[-1] + 2, periodic=False).to(bent)[1:-1]
        spectrum = torch.fft.rfft(bent * window, n=2 * self._bins)[..., 1 : self._bins + 1]
        power = torch.log(spectrum.real**2 + spectrum.imag**2 + 1e-3)
        return torch.cat([canonical, power], -1)
