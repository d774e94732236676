"""The covariance of samples that do not know each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Independent:
    """``scale^2 I`` for observations of ``shape``; some of their samples may be missing."""

    scale: Tensor
    shape: torch.Size
    observed: Tensor | None

    def whiten(self, values: Tensor) -> Tensor:
        return self._there(values / self.scale.to(values))

    def color(self, values: Tensor) -> Tensor:
        return values * self.scale.to(values)

    def precision(self, values: Tensor) -> tuple[Tensor, Tensor]:
        precision = self.scale.to(values) ** -2
        return self._there(precision * values), precision.expand(values.shape)

    def log_det(self) -> Tensor:
        samples: Tensor | int = math.prod(self.shape)
        if self.observed is not None:
            samples = self.observed.flatten(1).sum(1)
        return 2 * samples * self.scale.log()

    def _there(self, values: Tensor) -> Tensor:
        return values if self.observed is None else values * self.observed
