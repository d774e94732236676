"""Scales of observations' own: some are measured, or modelled, worse than others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

LEAST, MOST, TRIED = 0.3, 300.0, 200  # degrees above 2 that are tried, and how many


class OwnScales(nn.Module):
    """Noise ``s e`` of an observation: ``e`` normal of covariance C, ``s`` its own, mean square 1.

    ``(degrees - 2) / s^2`` is chi-squared, so the noise is a multivariate t of covariance C.
    Source: Kotz & Nadarajah (2004), Multivariate t-distributions and their applications.

    >>> scales = OwnScales(8.0)
    >>> round(float(scales.degrees), 6)
    8.0
    """

    log_excess: Tensor

    def __init__(self, degrees: float = 30.0) -> None:
        super().__init__()
        self.register_buffer("log_excess", torch.tensor(math.log(degrees - 2)))

    @property
    def degrees(self) -> Tensor:
        """Of freedom, (); above 2. Many: scales are all alike."""
        return 2 + self.log_excess.exp()

    def density(self, square: Tensor, log_det: Tensor, samples: Tensor | int) -> Tensor:
        """Log density (...) of squares ``x^T C^-1 x`` (...) of so many samples."""
        return _density(self.log_excess.to(square), square, log_det, samples)

    def left_out(
        self, square: Tensor, off: Tensor, variance: Tensor, samples: Tensor | int
    ) -> Tensor:
        """Log density (..., value) of each value given the others of its observation.

        ``square`` (..., 1) of the whole observation, of ``samples`` (..., 1); ``off`` and
        ``variance`` (..., value) of a value from its mean given the others, under C.
        """
        excess = self.log_excess.to(square).exp()
        others = excess + square - off**2 / variance  # what the others say of the scale
        degrees = excess + 2 + samples
        half = 0.5 * (degrees + 1)
        constant = torch.lgamma(half) - torch.lgamma(half - 0.5) - 0.5 * math.log(math.pi)
        wide = others * variance
        return constant - 0.5 * wide.log() - half * torch.log1p(off**2 / wide)

    def sample(self, shape: torch.Size, like: Tensor) -> Tensor:
        """Scales of observations, of ``shape``."""
        chi = torch.distributions.Chi2(self.degrees.to(like)).sample(shape)
        return (self.log_excess.to(like).exp() / chi).sqrt()

    @torch.no_grad()
    def refit(self, square: Tensor, samples: Tensor) -> None:
        """Move the degrees to where squares (observation,) of ``samples`` are likeliest."""
        square, samples = square.double(), samples.double()
        tried = torch.linspace(math.log(LEAST), math.log(MOST), TRIED, dtype=torch.double)
        tried = tried.to(square.device).unsqueeze(-1)
        found = _density(tried, square, torch.zeros_like(square), samples).sum(-1)
        self.log_excess.copy_(tried[found.argmax(), 0])


def _density(excess: Tensor, square: Tensor, log_det: Tensor, samples: Tensor | int) -> Tensor:
    """Of a log of the degrees less 2."""
    count = torch.as_tensor(samples).to(square)
    half = 0.5 * (excess.exp() + 2)
    constant = torch.lgamma(half + 0.5 * count) - torch.lgamma(half)
    constant = constant - 0.5 * count * (excess + math.log(math.pi))
    return constant - 0.5 * log_det - (half + 0.5 * count) * torch.log1p(square / excess.exp())
