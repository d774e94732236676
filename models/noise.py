"""Observation noise: the likelihood of an observation given its noiseless decoding."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn


class GaussianNoise(nn.Module):
    """White Gaussian noise with one learned standard deviation, in units of the data.

    ``rate_multiplier`` multiplies its learning rate: Adam moves the log of the scale by no more
    than the rate a step, which is slow where the noise ends a hundred times below its start.

    >>> GaussianNoise(scale=0.5)(torch.zeros(4, 3), event_dim=1).batch_shape
    torch.Size([4])
    """

    def __init__(self, scale: float = 0.1, *, rate_multiplier: float = 1.0) -> None:
        super().__init__()
        self.rate_multiplier = rate_multiplier
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale) / rate_multiplier))

    @property
    def scale(self) -> Tensor:
        return (self.rate_multiplier * self.log_scale).exp()

    @torch.no_grad()
    def hold(self, scale: float) -> None:
        """Set the scale, which is then no longer learned."""
        self.log_scale.requires_grad_(False).fill_(math.log(scale) / self.rate_multiplier)

    @torch.no_grad()
    def sharpen(self, factor: float) -> None:
        """Multiply the scale, which goes on being learned from there."""
        self.log_scale.add_(math.log(factor) / self.rate_multiplier)

    def forward(
        self, mean: Tensor, *, event_dim: int, observed: Tensor | None = None
    ) -> dist.TorchDistribution:
        """The distribution of ``x``; samples that are not ``observed`` add nothing."""
        noise = dist.Normal(mean, self.scale)
        return (noise if observed is None else noise.mask(observed)).to_event(event_dim)
