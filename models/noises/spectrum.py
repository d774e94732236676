"""Power over spatial frequency: a smooth, radial spectrum."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from groundvae.data.errors import InputError

BEND = 1 / 64  # cycles per sample, below which knots are evenly spaced, above it in the log
HIGHEST = math.sqrt(0.5)  # cycles per sample, at the corner
REFERENCE = 32  # frequencies a side, over which the mean power is 1


class Spectrum(nn.Module):
    """Power of mean 1 at frequencies in cycles per sample; white at first.

    ``log_power`` ([field], knot), its log at knots, between which it is interpolated. Frequencies
    are those of the samples, not of an image, so images of any size have the same spectrum.
    The mean is over those of images, or with one of ``dimensions`` over those of series.

    >>> Spectrum(8)(2, 2)
    tensor([[1., 1.],
            [1., 1.]], dtype=torch.float64, grad_fn=<ExpBackward0>)

    Raises:
        InputError: there are fewer than two knots.

    """

    def __init__(self, knots: int, fields: int | None = None, *, dimensions: int = 2) -> None:
        super().__init__()
        self.dimensions = dimensions
        if knots < 2:
            raise InputError(f"knots of a spectrum must be 2 or more, not {knots}")
        self.log_power = nn.Parameter(torch.zeros(*([fields] if fields else []), knots))

    def forward(self, rows: int, columns: int) -> Tensor:
        """Power (row, column, [field]) at the frequencies of the cosine transform of an image."""
        return self.at(self.place(radius(rows, columns, self.log_power)))

    def at(self, place: Tensor) -> Tensor:
        """Power (..., [field]) at places among the knots, (...)."""
        steps = (torch.arange(REFERENCE, dtype=torch.float64) + 0.5) / (2 * REFERENCE)
        across = steps if self.dimensions > 1 else torch.zeros(1, dtype=torch.float64)
        reference = torch.hypot(steps.unsqueeze(-1), across).flatten().to(place.device)
        mean = torch.logsumexp(self._log(self.place(reference)), 0) - math.log(len(reference))
        return (self._log(place) - mean).exp()

    def place(self, frequency: Tensor) -> Tensor:
        """Where frequencies (...) lie among the knots 0, 1, 2, ..."""
        last = self.log_power.shape[-1] - 1
        return last * torch.log1p(frequency / BEND) / math.log1p(HIGHEST / BEND)

    def _log(self, place: Tensor) -> Tensor:
        knots = torch.arange(self.log_power.shape[-1], dtype=place.dtype, device=place.device)
        weights = torch.relu(1 - (place.unsqueeze(-1) - knots).abs())
        log_power = self.log_power.to(place)
        return weights @ (log_power.mT if log_power.dim() > 1 else log_power)


def radius(rows: int, columns: int, like: Tensor) -> Tensor:
    """Frequency (row, column) in cycles per sample, in double precision."""
    row = torch.arange(rows, dtype=torch.float64, device=like.device) / (2 * rows)
    column = torch.arange(columns, dtype=torch.float64, device=like.device) / (2 * columns)
    return torch.hypot(row.unsqueeze(-1), column)
