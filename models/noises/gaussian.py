"""White Gaussian noise."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.models.noises.stated import Stated
from groundvae.models.noises.white import White


class Gaussian(White):
    """White Gaussian noise with one learned standard deviation, in units of the data.

    >>> Gaussian(scale=0.5)(torch.zeros(4, 3), event_dim=1).batch_shape
    torch.Size([4])
    """

    def __init__(self, scale: float = 0.1, *, rate_multiplier: float = 1.0) -> None:
        super().__init__(rate_multiplier)
        self.log_scale = nn.Parameter(torch.tensor(self._log(scale)))

    def given(self, batch: Batch) -> White:
        if batch.error is None and batch.censored is None:
            return self
        return Stated(self, batch.error, batch.censored)

    def each(self, mean: Tensor, observed: Tensor | None = None) -> dist.TorchDistribution:
        return dist.Normal(mean, self.scale)

    def score(self, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        root = (1 / self.scale).expand(x.shape)
        return root * (x - mean), root

    def _refit(
        self, off: Tensor, observed: Tensor | None, ratio: float, times: Tensor | None
    ) -> None:
        if self.log_scale.requires_grad:
            there = off if observed is None else off[observed]
            square = ratio * float(there.double().square().mean())
            self.log_scale.fill_(self._log(math.sqrt(square)))
