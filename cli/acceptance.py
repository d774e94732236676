"""Whether data are what a system knows: refused in one sentence, cleared, or made complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from groundvae.cli.console import note
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.npz import full_scale
from groundvae.data.unusable import find_unusable, told, without_values
from groundvae.models.catalogue import Entry

IMAGE_RANK = 3  # row, column, band


def accepted(
    data: Dataset, entry: Entry, path: Path, *, refuse_missing: bool, first: int | None = None
) -> Dataset:
    """Data as the system knows them; ``first``: of a part, the number of its first observation."""
    rank = 1 + len(entry.system.axes)
    if data.x.ndim != rank:
        shape = ", ".join(("observation", *entry.system.axes))
        raise InputError(f"{path}: x has shape {data.x.shape}, expected ({shape})")
    missing = np.isnan(data.x)
    if refuse_missing and missing.any():
        where = int(missing.reshape(len(data), -1).any(axis=1).argmax()) + (first or 0)
        raise InputError(
            f"{path}: x has {int(missing.sum())} missing samples, the first in observation "
            f"{where}, expected none with --refuse-missing"
        )
    if first is None:
        return _with_coordinates(_cleared(data, entry, path), entry, path)
    x = data.x.copy()
    x[list(find_unusable(x, entry.system.limits))] = np.nan
    return _with_coordinates(replace(data, x=x), entry, path)


def as_meant(
    data: Dataset,
    arrays: Mapping[str, np.ndarray],
    entry: Entry,
    path: Path,
    *,
    quiet: bool = False,
    largest: float | None = None,
) -> Dataset:
    """The data as they are meant: whole numbers of images scaled, arrays nobody uses named."""
    kind = arrays["x"].dtype if "x" in arrays else data.x.dtype
    if kind.kind in "iu" and len(entry.system.axes) == IMAGE_RANK:
        most = full_scale(data.x if largest is None else largest, kind)
        if not quiet:
            note(f"{path}: x holds whole numbers ({kind}), taken as 0 .. {most:.0f} for 0 .. 1")
        data = replace(data, x=data.x / np.float32(most))
    if quiet or "time" not in entry.system.axes:
        return data
    steps = data.x.shape[1 + entry.system.axes.index("time")]
    used = {"x", *data.arrays(), *entry.system.coordinates}
    for name, array in arrays.items():
        if name not in used and array.ndim in (1, 2) and array.shape[-1] == steps:
            note(
                f"WARNING: {path}: the array {name!r} is as long as the time axis and is not used; "
                "times are read from 't'"
            )
    return data


def _cleared(data: Dataset, entry: Entry, path: Path) -> Dataset:
    """Data of which observations that cannot be used have no samples; they are named on stderr."""
    least, most = entry.system.limits
    unusable = find_unusable(data.x, (least, most))
    if not unusable:
        return data
    if 2 * len(unusable) > len(data):  # not some are wrong, but the whole file
        there = data.x[~np.isnan(data.x)]
        low, high = (there.min(), there.max()) if there.size else (least, most)
        if low < least or high > most:
            expected = f"{entry.system.quantity} within {least:.3g} .. {most:.3g} "
            raise InputError(
                f"{path}: x reaches from {low:.3g} to {high:.3g}, expected "
                f"{expected}{entry.system.unit}".rstrip()
            )
        raise InputError(f"{path}: {told(unusable)}, expected most of {len(data)} to be good")
    note(f"WARNING: {path}: {told(unusable)}; the others are not touched by it")
    return without_values(data, unusable)


def _with_coordinates(data: Dataset, entry: Entry, path: Path) -> Dataset:
    """The system's own times (or places) where the file has none and its size allows it."""
    found = dict(data.coordinates)
    if entry.source.simulate is None:
        return data
    usual = entry.source.simulate(1, 0)
    own = usual.coordinates
    _check_places(data, usual, entry, path)
    for name, axis in entry.system.coordinates.items():
        if name in found:
            continue
        samples = data.x.shape[1 + entry.system.axes.index(axis)]
        if len(own[name]) != samples:
            what = "'t' in seconds" if name == "t" else repr(name)
            raise InputError(
                f"{path}: has no {_plural(axis)} {name!r} and {samples} samples an observation, "
                f"expected {what} or {len(own[name])} samples"
            )
        found[name] = own[name]
    return replace(data, coordinates=found)


def _check_places(data: Dataset, usual: Dataset, entry: Entry, path: Path) -> None:
    """Refuse axes other than time that are not the system's own: models know no others."""
    names = {axis: name for name, axis in entry.system.coordinates.items()}
    for place, axis in enumerate(entry.system.axes, start=1):
        if axis == "time":
            continue
        known, given = usual.x.shape[place], data.x.shape[place]
        if given != known:
            raise InputError(f"{path}: x has {given} {_plural(axis)}, expected {known}")
        name = names.get(axis, "")
        if name not in data.coordinates:
            continue
        values, expected = data.coordinates[name], usual.coordinates[name]
        if values.shape != expected.shape or not np.allclose(values, expected, atol=1e-4):
            raise InputError(
                f"{path}: {name!r} does not hold the system's own {_plural(axis)}, expected "
                f"{known} from {expected[0]:.3g} to {expected[-1]:.3g}"
            )


def _plural(axis: str) -> str:
    return {"time": "times", "space": "places"}.get(axis, f"{axis}s")
