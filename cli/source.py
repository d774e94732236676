"""Where a command's observations come from: a file, or the system's own simulator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from groundvae.data.dataset import Dataset, load_dataset
from groundvae.data.errors import InputError
from groundvae.models.catalogue import Entry

TRAIN, VALID, TEST = (1000, 1), (500, 2), (1000, 3)
"""Size and seed of the default splits."""


def read_data(path: Path, entry: Entry, *, refuse_missing: bool = False) -> Dataset:
    """A data file of one system.

    Raises:
        InputError: the file is bad, of another rank, or has gaps that are refused.

    """
    data = load_dataset(path, coordinates=tuple(entry.coordinates), latents=entry.truths)
    rank = 1 + len(entry.axes)
    if data.x.ndim != rank:
        shape = ", ".join(("observation", *entry.axes))
        raise InputError(f"{path}: x has shape {data.x.shape}, expected ({shape})")
    missing = np.isnan(data.x)
    if refuse_missing and missing.any():
        where = int(missing.reshape(len(data), -1).any(axis=1).argmax())
        raise InputError(
            f"{path}: x has {int(missing.sum())} missing samples, the first in observation "
            f"{where}, expected none with --refuse-missing"
        )
    if missing.reshape(len(data), -1).all(axis=1).any():
        where = int(missing.reshape(len(data), -1).all(axis=1).argmax())
        raise InputError(f"{path}: observation {where} has no samples at all, expected some")
    return _with_times(data, entry, path)


def _with_times(data: Dataset, entry: Entry, path: Path) -> Dataset:
    """The system's own times where the file has none and its length allows it."""
    if "t" not in entry.coordinates or "t" in data.coordinates:
        return data
    own = entry.simulate(1, 0).coordinates["t"]
    if len(own) != data.x.shape[1]:
        raise InputError(
            f"{path}: has no times 't' and {data.x.shape[1]} samples an observation, expected "
            f"'t' in seconds or {len(own)} samples"
        )
    return replace(data, coordinates={**data.coordinates, "t": own})
