"""Arrays by the names that a system gives them: ``x``, its coordinates and true latents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.npz import numbers, read_npz


def load_dataset(
    path: Path | str, *, coordinates: tuple[str, ...], latents: tuple[str, ...]
) -> Dataset:
    """Read an ``.npz``: ``x``, the named coordinates and true latents; the rest is ignored.

    Raises:
        InputError: no such file, not an npz, pickled arrays, no ``x``, or bad values.

    """
    arrays = read_npz(path, ("x", *coordinates, *latents))
    return dataset_of(arrays, path, coordinates=coordinates, latents=latents)


def dataset_of(
    arrays: Mapping[str, np.ndarray],
    path: Path | str,
    *,
    coordinates: tuple[str, ...],
    latents: tuple[str, ...],
) -> Dataset:
    """Of arrays by name (any shapes), ``x``, the named coordinates and true latents.

    Raises:
        InputError: no ``x``, or bad values; ``path`` says where.

    """
    if "x" not in arrays:
        raise InputError(f"{path}: has no array 'x', expected one of shape (observation, ...)")
    try:
        x = numbers(arrays["x"], np.float32)
        shared = {k: numbers(arrays[k], float) for k in coordinates if k in arrays}
        truth = {k: numbers(arrays[k], float) for k in latents if k in arrays}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: holds arrays that are not numbers ({error})") from error
    for name, value in truth.items():
        if value.shape != x.shape[:1]:
            raise InputError(f"{path}: {name} has shape {value.shape}, expected {x.shape[:1]}")
    try:
        return Dataset(x, shared, truth)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
