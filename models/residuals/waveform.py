"""Waveforms: series that z alone sets, with no state and no law behind them."""

from __future__ import annotations

import torch
from torch import Tensor

from groundvae.models.network import FourierTime, SmoothMap
from groundvae.models.residuals.residual import RESIDUALS, Residual, Seen
from groundvae.models.system import OBSERVATION
from groundvae.models.values import Values


@RESIDUALS.register("waveform")
class Waveform(Residual):
    """Values over time as Fourier features whose weights are smooth functions of z.

    Fine detail begins small: the features' weights fall with frequency.

    Args:
        auxiliary: dimension of z.
        channels: values at each time; 0 for a series, which has no axis of channels.
        pairs, highest: of the features, Hz.
        length, spread: of what is added to a linear map of z, see ``SmoothMap``; the spread in
            the units of the values, about.

    """

    damping: Tensor

    def __init__(
        self,
        *,
        auxiliary: int,
        channels: int = 0,
        pairs: int = 40,
        highest: float = 10.0,
        length: float,
        spread: float,
    ) -> None:
        super().__init__(OBSERVATION, ("t",), auxiliary)
        self.channels, self.time = channels, FourierTime(pairs, highest)
        count = max(channels, 1) * self.time.features
        self.map = SmoothMap(auxiliary, count, length=length, spread=spread)
        order = torch.arange(1, pairs + 1).repeat(2)
        self.register_buffer("damping", 0.3 / order)

    def add(self, seen: Seen, states: Values) -> Tensor:
        values = self.values(seen.auxiliary, seen.inputs["t"])
        return values if self.channels else values.squeeze(-1)

    def values(self, auxiliary: Tensor, times: Tensor) -> Tensor:
        """Values (..., time, channel) for ``auxiliary`` (..., auxiliary)."""
        weights = self.map(auxiliary).unflatten(-1, (max(self.channels, 1), -1)) * self.damping
        values: Tensor = (weights @ self.time(times).mT).transpose(-1, -2)
        return values

    def log_prior(self) -> Tensor:
        return self.map.log_prior()
