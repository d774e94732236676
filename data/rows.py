"""Observations that are read some at a time: a file may be larger than the memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.npz import map_npz
from groundvae.data.readers.arrays import described
from groundvae.data.readers.labelled import labels_of, lazily
from groundvae.data.readers.wanted import CENSORED, ERROR, OBSERVATION
from groundvae.data.reading import LABELLED


class Rows(Protocol):
    """What a ``Dataset`` is too: so many observations, of which any can be had."""

    def __len__(self) -> int:
        """How many observations there are."""

    def subset(self, index: slice) -> Dataset:
        """Some of the observations."""

    @property
    def names(self) -> tuple[str, ...]:
        """What all of them are called; empty where they have no names."""


class Arrays:
    """The arrays of an ``.npz``, of which only the rows that are asked for are read.

    Args:
        path: of the file.
        own: names of arrays that may be one for each observation, by their number of axes where
            they are: ``{"mass": 1, "drive": 2}``.

    Raises:
        InputError: no such file, damaged, or no ``x`` (observation, ...).

    """

    def __init__(self, path: Path, own: Mapping[str, int]) -> None:
        self.arrays = map_npz(path)
        if "x" not in self.arrays or self.arrays["x"].ndim < 2:
            raise InputError(f"{path}: has no array 'x', expected one of shape (observation, ...)")
        axes = {"t": 2, **own, **dict.fromkeys(("x", ERROR, CENSORED), 0)}
        named: Collection[str] = described(self.arrays, str(path))
        self.own = {
            name
            for name, array in self.arrays.items()
            if array.ndim
            and len(array) == len(self)
            and (name in named or (name in axes and array.ndim >= (axes[name] or 1)))
        }

    def __len__(self) -> int:
        return len(self.arrays["x"])

    @property
    def names(self) -> tuple[str, ...]:
        """None: arrays say nothing of the rows that are asked for."""
        return ()

    def part(self, rows: slice) -> dict[str, np.ndarray]:
        """The arrays (rows, ...) of some observations, and those that all share."""
        return {k: np.array(v[rows] if k in self.own else v) for k, v in self.arrays.items()}


class Labelled:
    """A netCDF file or a Zarr folder, of which only the rows that are asked for are read.

    Raises:
        InputError: damaged, another format, or no dimension ``observation``.

    """

    def __init__(self, path: Path) -> None:
        self.opened = lazily(path)
        if OBSERVATION not in self.opened.dims:
            raise InputError(f"{path}: has no dimension {OBSERVATION!r}, expected one")

    def __len__(self) -> int:
        return int(self.opened.sizes[OBSERVATION])

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the dimension ``observation``, where they are texts."""
        return labels_of(self.opened, [OBSERVATION]).get(OBSERVATION, ())

    def part(self, rows: slice) -> xr.Dataset:
        """All variables of some observations, read."""
        return self.opened.isel({OBSERVATION: rows}).load()


def open_rows(path: Path, own: Mapping[str, int]) -> Arrays | Labelled | None:
    """A file that can be read some rows at a time; None: of another kind, which is read whole.

    ``own``: see ``Arrays``.
    """
    if path.suffix == ".npz":
        return Arrays(path, own)
    return Labelled(path) if path.suffix in LABELLED else None
