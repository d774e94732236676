"""The Dataset: observations, their coordinates and, where known, the true latents."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from groundvae.data.atomic import replacing
from groundvae.data.errors import InputError

# What numpy and zipfile raise on damaged files.
UNREADABLE = (
    OSError,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Dataset:
    """Observations ``x`` (observation, *event); NaN marks a missing sample.

    ``coordinates`` hold what the observations share, by name (``t``: (time,), s, strictly
    increasing); ``truth`` holds the true latents, (observation,), where they are known.
    """

    x: np.ndarray
    coordinates: Mapping[str, np.ndarray] = field(default_factory=dict)
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.x.ndim < 2 or self.x.size == 0:
            raise InputError(f"x has shape {self.x.shape}, expected (observation, ...), not empty")
        if np.isinf(self.x).any():
            where = int(np.isinf(self.x).reshape(len(self.x), -1).any(axis=1).argmax())
            raise InputError(f"x holds infinite values, first in observation {where}")
        if "t" in self.coordinates:
            _check_times(self.coordinates["t"], self.x)

    def __len__(self) -> int:
        return len(self.x)

    def subset(self, index: np.ndarray | slice) -> Dataset:
        """The observations that ``index`` picks."""
        truth = {name: value[index] for name, value in self.truth.items()}
        return Dataset(self.x[index], self.coordinates, truth)

    def split(self, fraction: float, seed: int) -> tuple[Dataset, Dataset]:
        """Two disjoint parts by a seeded shuffle, the first with ``fraction`` of the rows.

        >>> first, second = Dataset(np.zeros((10, 3))).split(0.8, seed=0)
        >>> len(first), len(second)
        (8, 2)
        """
        if len(self) < 2:
            raise InputError("a split needs at least two observations, the data have one")
        order = np.random.default_rng(seed).permutation(len(self))
        cut = min(max(1, round(fraction * len(self))), len(self) - 1)
        return self.subset(np.sort(order[:cut])), self.subset(np.sort(order[cut:]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name, as a data file holds it."""
        return {"x": self.x, **self.coordinates, **self.truth}

    def save(self, path: Path) -> None:
        """Write an ``.npz`` (no pickles) with ``x``, the coordinates and the true latents."""
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **self.arrays())


def load_dataset(path: Path, *, coordinates: tuple[str, ...], latents: tuple[str, ...]) -> Dataset:
    """Read an ``.npz``: ``x``, the named coordinates and true latents; the rest is ignored.

    Raises:
        InputError: no such file, not an npz, pickled arrays, no ``x``, or bad values.

    """
    arrays = read_npz(path, ("x", *coordinates, *latents))
    if "x" not in arrays:
        raise InputError(f"{path}: has no array 'x', expected one of shape (observation, ...)")
    try:
        x = _numbers(arrays["x"], np.float32)
        shared = {k: _numbers(arrays[k], float) for k in coordinates if k in arrays}
        truth = {k: _numbers(arrays[k], float) for k in latents if k in arrays}
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: holds arrays that are not numbers ({error})") from error
    for name, value in truth.items():
        if value.shape != x.shape[:1]:
            raise InputError(f"{path}: {name} has shape {value.shape}, expected {x.shape[:1]}")
    try:
        return Dataset(x, shared, truth)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _numbers(array: np.ndarray, dtype: type) -> np.ndarray:
    if np.asarray(array).dtype.kind not in "biuf":
        raise TypeError(f"of type {np.asarray(array).dtype}")
    with np.errstate(over="ignore"):  # what overflows is infinite, and is refused as such
        return np.asarray(array, dtype=dtype)


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected an .npz with an array 'x'")
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise InputError(f"{path}: is one bare array, expected an .npz with an array 'x'")
        with opened as archive:
            return {name: archive[name] for name in names if name in archive.files}
    except InputError:
        raise
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise InputError(
                f"{path}: is pickled or no .npz at all; pickles are refused, expected an .npz "
                "of plain numeric arrays"
            ) from error
        raise InputError(f"{path}: cannot be read as .npz ({error})") from error
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as .npz ({error})") from error


def _check_times(times: np.ndarray, x: np.ndarray) -> None:
    if times.ndim != 1 or times.size == 0:
        raise InputError(f"t has shape {times.shape}, expected (time,), not empty")
    if times.size != x.shape[1]:
        raise InputError(f"t has {times.size} times, x has {x.shape[1]} samples an observation")
    if not np.isfinite(times).all() or not (np.diff(times) > 0).all():
        raise InputError("t is not strictly increasing, expected finite increasing times in s")
    if not (np.diff(times.astype(np.float32)) > 0).all():
        raise InputError("t has steps too fine for single precision, expected t to start near 0 s")
