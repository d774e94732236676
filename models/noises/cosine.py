"""The orthonormal cosine transform of images: exact, its own transpose inverted, n log n.

Cosines that are flat at the edges: what lies beyond an edge is what lies before it, mirrored, so
opposite edges never touch. Source: Makhoul (1980), A fast cosine transform in one and two
dimensions; type II.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

SHORT = 128  # samples, up to which a product with the matrix is faster than a Fourier transform


def cosine(images: Tensor) -> Tensor:
    """Transform along the last two axes, (..., row, column).

    >>> cosine(torch.ones(2, 2, dtype=torch.float64)).round(decimals=9).abs()
    tensor([[2., 0.],
            [0., 0.]], dtype=torch.float64)
    """
    rows, columns = images.shape[-2:]
    if rows > SHORT or columns > SHORT:
        return _forward(_forward(images).mT).mT
    return _sandwich(basis(rows, images), images, basis(columns, images).T)


def inverse(spectra: Tensor) -> Tensor:
    """Back again, which is the transpose as well: (..., row, column)."""
    rows, columns = spectra.shape[-2:]
    if rows > SHORT or columns > SHORT:
        return _backward(_backward(spectra).mT).mT
    return _sandwich(basis(rows, spectra).T, spectra, basis(columns, spectra))


def _sandwich(left: Tensor, images: Tensor, right: Tensor) -> Tensor:
    """``left @ image @ right`` of each image: in a batch, twice as fast as broadcast."""
    flat = images.reshape(-1, *images.shape[-2:])
    half = torch.bmm(left.expand(len(flat), -1, -1), flat)
    return torch.bmm(half, right.expand(len(flat), -1, -1)).view(images.shape)


@lru_cache(maxsize=32)
def _doubles(size: int) -> Tensor:
    index = torch.arange(size, dtype=torch.float64)
    angles = math.pi * index.unsqueeze(-1) * (index + 0.5) / size
    matrix = torch.cos(angles) * math.sqrt(2 / size)
    matrix[0] *= math.sqrt(0.5)
    return matrix


@lru_cache(maxsize=32)
def _cached(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _doubles(size).to(dtype=dtype, device=device)


def basis(size: int, like: Tensor) -> Tensor:
    """The matrix (frequency, sample) of the transform of ``size`` samples."""
    return _cached(size, like.dtype, like.device)


def _forward(values: Tensor) -> Tensor:
    """Along the last axis."""
    size = values.shape[-1]
    folded = torch.cat([values[..., ::2], values[..., 1::2].flip(-1)], -1)
    found = (torch.fft.fft(folded) * _turn(size, values).conj()).real
    return found / _norm(size, values)


def _backward(spectra: Tensor) -> Tensor:
    size = spectra.shape[-1]
    scaled = spectra * _norm(size, spectra)
    mirrored = torch.nn.functional.pad(scaled[..., 1:].flip(-1), (1, 0))
    folded = torch.fft.ifft(torch.complex(scaled, -mirrored) * _turn(size, spectra)).real
    half = (size + 1) // 2
    values = torch.empty_like(folded)
    values[..., ::2] = folded[..., :half]
    values[..., 1::2] = folded[..., half:].flip(-1)
    return values


def _turn(size: int, like: Tensor) -> Tensor:
    angle = torch.arange(size, dtype=like.dtype, device=like.device) * (math.pi / (2 * size))
    return torch.polar(torch.ones_like(angle), angle)


def _norm(size: int, like: Tensor) -> Tensor:
    norm = like.new_full((size,), math.sqrt(size / 2))
    norm[0] = math.sqrt(size)
    return norm
