"""Waveforms: series that z alone sets, with no state and no law behind them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from groundvae.models.network import FourierTime, SmoothMap


class Waveform(nn.Module):
    """Values over time as Fourier features whose weights are smooth functions of z.

    Fine detail begins small: the features' weights fall with frequency.

    Args:
        auxiliary: dimension of z.
        channels: values at each time.
        time: the features.
        length, spread: of what is added to a linear map of z, see ``SmoothMap``; the spread in
            the units of the values, about.

    """

    damping: Tensor

    def __init__(
        self, auxiliary: int, channels: int, time: FourierTime, *, length: float, spread: float
    ) -> None:
        super().__init__()
        self.auxiliary, self.channels, self.time = auxiliary, channels, time
        self.map = SmoothMap(auxiliary, channels * time.features, length=length, spread=spread)
        order = torch.arange(1, time.features // 2 + 1).repeat(2)
        self.register_buffer("damping", 0.3 / order)

    def forward(self, auxiliary: Tensor, times: Tensor) -> Tensor:
        """Values (..., time, channel) for ``auxiliary`` (..., auxiliary)."""
        weights = self.map(auxiliary).unflatten(-1, (self.channels, -1)) * self.damping
        values: Tensor = (weights @ self.time(times).T).transpose(-1, -2)
        return values

    def log_prior(self) -> Tensor:
        """Log density of the weights, up to a constant."""
        return self.map.log_prior()
