"""The plain networks that residuals and guides are made of."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def linear(inputs: int, outputs: int, *, start: float) -> nn.Linear:
    """A layer whose weights begin at ``start`` times their usual size, and without an offset."""
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.mul_(start)
        layer.bias.zero_()
    return layer


def perceptron(inputs: int, outputs: int, *, width: int, start: float) -> nn.Sequential:
    """Two hidden layers; the last layer's weights begin at ``start`` times their usual size."""
    head = linear(width, outputs, start=start)
    hidden = (nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
    return nn.Sequential(*hidden, head)


class ResidualMLP(nn.Module):
    """A perceptron with pre-normalized skip blocks: (..., inputs) -> (..., outputs).

    >>> ResidualMLP(3, 2, width=16, blocks=1)(torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(self, inputs: int, outputs: int, *, width: int = 256, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
            )
            for _ in range(blocks)
        )
        self.head = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = nn.functional.silu(self.stem(inputs))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        outputs: Tensor = self.head(nn.functional.silu(hidden))
        return outputs


class SmoothMap(nn.Module):
    """A smooth function of z, ``linear(z) + weights @ features(z)``, under a prior on its weights.

    The features are cosines of random directions, the same for every seed of a fit: with normal
    weights they are draws from a Gaussian process whose values at two places are alike where
    these are nearer than ``length``. ``spread`` is the standard deviation of the process. A
    perceptron of this size follows a few hundred observations and misses others; a prior on
    smooth functions does not. Source: Rahimi & Recht (2007), Random features.
    """

    directions: Tensor
    phases: Tensor

    def __init__(
        self, inputs: int, outputs: int, *, features: int = 512, length: float, spread: float
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(inputs, features, generator=generator) / length
        self.register_buffer("directions", directions)
        self.register_buffer("phases", 2 * math.pi * torch.rand(features, generator=generator))
        self.linear = nn.Linear(inputs, outputs)
        self.weights = nn.Parameter(torch.zeros(outputs, features))
        self.size = spread * math.sqrt(2 / features)

    def forward(self, z: Tensor) -> Tensor:
        features = torch.cos(z @ self.directions + self.phases)
        bent: Tensor = nn.functional.linear(features, self.size * self.weights)
        return self.linear(z) + bent

    def log_prior(self) -> Tensor:
        """Log density of the weights, each a standard normal, up to a constant."""
        return -0.5 * self.weights.square().sum()


class FourierTime(nn.Module):
    """Sines and cosines of time: (...,) -> (..., 2 * pairs).

    Frequencies are evenly spaced from 0 (left out) to ``highest`` (Hz). An MLP of raw time
    cannot follow a forcing of some Hz; one of these features can.
    Source: Tancik et al. (2020), Fourier features let networks learn high frequency functions.
    """

    frequencies: Tensor

    def __init__(self, pairs: int = 16, highest: float = 8.0) -> None:
        super().__init__()
        self.register_buffer("frequencies", highest * torch.arange(1, pairs + 1) / pairs)

    @property
    def features(self) -> int:
        return 2 * len(self.frequencies)

    def forward(self, time: Tensor) -> Tensor:
        phase = 2 * math.pi * time.unsqueeze(-1) * self.frequencies
        return torch.cat([torch.cos(phase), torch.sin(phase)], -1)
