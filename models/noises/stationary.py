"""The covariance of images: diagonal in cosines, a small matrix of channels at each of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from groundvae.models.noises.cosine import basis, cosine, inverse


@dataclass(frozen=True)
class Stationary:
    """``C = T^T K T``: T the cosine transform, ``power`` K (row, column, channel, channel).

    Everything is exact and n log n; images are (..., row, column, channel).
    """

    power: Tensor

    @cached_property
    def factor(self) -> Tensor:
        """Cholesky factors of K, (row, column, channel, channel)."""
        return torch.linalg.cholesky(self.power)

    @cached_property
    def unfactor(self) -> Tensor:
        """Their inverses."""
        eye = torch.eye(self.power.shape[-1], dtype=self.power.dtype, device=self.power.device)
        return torch.linalg.solve_triangular(self.factor, eye, upper=False)

    @cached_property
    def unpower(self) -> Tensor:
        """Inverse of K."""
        return self.unfactor.mT @ self.unfactor

    def whiten(self, values: Tensor) -> Tensor:
        """Whitened cosines, (..., channel, row, column): rows and columns of frequencies."""
        return _mix(self.unfactor, cosine(values.movedim(-1, -3)), lower=True)

    def color(self, values: Tensor) -> Tensor:
        spectra = values.movedim(-1, -3).contiguous()
        return inverse(_mix(self.factor, spectra, lower=True)).movedim(-3, -1)

    def apply(self, values: Tensor) -> Tensor:
        """``C values``."""
        return _between(self.power, values)

    def solve(self, values: Tensor) -> Tensor:
        """``C^-1 values``."""
        return _between(self.unpower, values)

    @cached_property
    def table(self) -> Tensor:
        """Of the elements of C, for ``elements``."""
        return _table(self.power)

    @cached_property
    def untable(self) -> Tensor:
        """Of those of ``C^-1``."""
        return _table(self.unpower)

    def precision(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return self.solve(values), self.diagonal.to(values)

    @cached_property
    def diagonal(self) -> Tensor:
        """Diagonal of ``C^-1``, (row, column, channel)."""
        rows = basis(self.power.shape[0], self.power).square()
        columns = basis(self.power.shape[1], self.power).square()
        each = self.unpower.diagonal(dim1=-2, dim2=-1)
        return torch.einsum("kr,lc,klb->rcb", rows, columns, each)

    def log_det(self) -> Tensor:
        return 2 * self.factor.diagonal(dim1=-2, dim2=-1).log().sum()


def elements(table: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Elements (m, n) of a matrix between samples ``one`` (m, 3) and ``other`` (n, 3).

    Samples are (row, column, channel). A product of two cosines is a sum of two, so elements are
    sums of four numbers that depend on differences and on sums of rows and columns.
    """
    row, column, channel = one.unsqueeze(1).unbind(-1)
    row_, column_, channel_ = other.unsqueeze(0).unbind(-1)
    down = ((row - row_).abs(), row + row_ + 1)
    along = ((column - column_).abs(), column + column_ + 1)
    found = [table[channel, channel_, u, v] for u in down for v in along]
    return found[0] + found[1] + found[2] + found[3]


def _table(power: Tensor) -> Tensor:
    """``sum_k w_k power_k cos(pi k u / n)``, (channel, channel, u, v), along rows and columns."""
    rows, columns = (_waves(size, power) for size in power.shape[:2])
    return rows @ power.permute(2, 3, 0, 1) @ columns.T


def _waves(size: int, like: Tensor) -> Tensor:
    frequency = torch.arange(size, dtype=like.dtype, device=like.device)
    lag = torch.arange(2 * size, dtype=like.dtype, device=like.device)
    waves = torch.cos(lag.unsqueeze(-1) * frequency * (math.pi / size)) / size
    return torch.where(frequency == 0, 0.5 * waves, waves)


def _between(power: Tensor, values: Tensor) -> Tensor:
    return inverse(_mix(power, cosine(values.movedim(-1, -3)))).movedim(-3, -1)


def _mix(power: Tensor, spectra: Tensor, *, lower: bool = False) -> Tensor:
    """Matrices (row, column, channel, channel) times spectra (..., channel, row, column)."""
    power = power.to(spectra).permute(2, 3, 0, 1).contiguous()
    parts = spectra.unbind(-3)
    mixed = []
    for row, weights in enumerate(power.unbind(0)):
        total = weights[0] * parts[0]
        for channel in range(1, row + 1 if lower else len(parts)):
            total = torch.addcmul(total, weights[channel], parts[channel])
        mixed.append(total)
    return torch.stack(mixed, -3)
