"""A network at every pixel whose weights follow from latents of the image (FiLM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class PixelNetwork(nn.Module):
    """Features of pixels (image, pixel, feature) and latents (image, latent) to (.., .., output).

    Two hidden layers. The latents scale and shift each hidden unit, which is done on the
    weights: a product less for every pixel. The outputs are zero at first.
    Source: Perez et al. (2018), FiLM: visual reasoning with a general conditioning layer.
    """

    def __init__(self, features: int, latents: int, outputs: int, *, width: int = 64) -> None:
        super().__init__()
        self.sizes = (features, width)
        self.weights = nn.ParameterList(
            torch.randn(size, width) / math.sqrt(size) for size in self.sizes
        )
        self.conditions = nn.Sequential(
            nn.Linear(latents, width), nn.SiLU(), nn.Linear(width, 2 * width * len(self.sizes))
        )
        self.head = nn.Linear(width, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Tensor, latents: Tensor) -> Tensor:
        scales, shifts = self.conditions(latents).unflatten(-1, (2, len(self.sizes), -1)).unbind(1)
        hidden = features.expand(len(latents), -1, -1)
        for weight, scale, shift in zip(
            self.weights, scales.unbind(1), shifts.unbind(1), strict=True
        ):
            scaled = weight * (1 + scale).unsqueeze(1)
            hidden = functional.silu(torch.baddbmm(shift.unsqueeze(1), hidden, scaled))
        outputs: Tensor = self.head(hidden)
        return outputs
