"""Where a command's observations come from: a file, or the system's own simulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from groundvae.cli.commands import Reading
from groundvae.cli.console import note
from groundvae.data.dataset import Dataset, dataset_of, load_dataset
from groundvae.data.errors import InputError
from groundvae.data.input import BASE
from groundvae.data.npz import full_scale, largest_of, look_into
from groundvae.data.reading import read
from groundvae.data.root import Splits
from groundvae.data.rows import Arrays, Labelled, open_rows
from groundvae.data.unusable import find_unusable, told, without_values
from groundvae.data.windows import windows
from groundvae.models.catalogue import Entry
from groundvae.models.prior import split_assignment
from groundvae.models.recipe import Recipe

TRAIN, VALID, TEST = (1000, 1), (500, 2), (1000, 3)
"""Size and seed of the default splits."""

IMAGE_RANK = 3  # row, column, band

TABLES = (".csv", ".tsv", ".txt", ".parquet", ".nc", ".zarr")
"""Kinds of data files beside ``.npz``."""

T = TypeVar("T")


def once(option: str, pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """A mapping of what an option gives by name; a name given twice is refused.

    >>> once("--do", [("omega", 2.0)])
    {'omega': 2.0}
    """
    found: dict[str, T] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(f"{option} names {name!r} twice, expected once")
        found[name] = value
    return found


def assigned(option: str, texts: Iterable[str]) -> dict[str, str]:
    """Texts by name, of an option that takes NAME=TEXT.

    >>> assigned("--prior", ["omega=LogNormal(0.5, 0.4)"])
    {'omega': 'LogNormal(0.5, 0.4)'}
    """
    return once(option, (split_assignment(text) for text in texts))


def simulated(entry: Entry, n: int, seed: int) -> Dataset:
    """Observations of a system's own simulator.

    Raises:
        InputError: it has none.

    """
    if entry.source.simulate is None:
        raise InputError(f"{entry.name} has no simulator, expected --data FILE")
    return entry.source.simulate(n, seed)


class SimulatedSplits:
    """The default splits of a simulated system, each simulated when it is asked for."""

    source = f"simulated, seeds {TRAIN[1]}, {VALID[1]} and {TEST[1]}"

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    @cached_property
    def train(self) -> Dataset:
        return simulated(self.entry, *TRAIN)

    @cached_property
    def valid(self) -> Dataset:
        return simulated(self.entry, *VALID)

    @cached_property
    def test(self) -> Dataset:
        return simulated(self.entry, *TEST)


def default_splits(entry: Entry, root: Path | None = None) -> Splits | SimulatedSplits:
    """A system's own data: measured ones where they are found, else simulated.

    A stand-in for measured data is announced on stderr.
    """
    if entry.source.splits is None:
        if root is not None:
            raise InputError(f"{entry.name} is simulated, expected no --root")
        return SimulatedSplits(entry)
    splits = entry.source.splits(root)
    if splits.stand_in:
        note(f"WARNING: {entry.name}: {splits.source}; `data {entry.name}` says how to get them")
    return splits


def usual_recipe(entry: Entry, variant: str, loss: str | None) -> Recipe:
    """The recipe of a variant; under another loss, that of the same model where there is one."""
    own = entry.variant(variant)
    if loss is None or loss == own.recipe.loss:
        return own.recipe
    same = [v.recipe for v in entry.variants.values() if v.build is own.build]
    return next((r for r in same if r.loss == loss), replace(own.recipe, loss=loss, weights={}))


ROLES = ("observation", "time", "value", "channel")


def read_data(
    path: Path, entry: Entry, how: Reading | None = None, *, refuse_missing: bool = False
) -> Dataset:
    """A data file of one system, read as ``how`` says.

    Raises:
        InputError: the file is bad, of another rank, or has gaps that are refused.

    """
    how = how or Reading()
    data = _parsed(path, entry, path, how)
    if how.window is not None:
        data = windows(data, how.window)
    return _checked(data, entry, path, refuse_missing=refuse_missing)


class FileRows:
    """A data file of one system, read and checked some observations at a time.

    Raises:
        InputError: the file is bad.

    """

    def __init__(self, path: Path, entry: Entry, *, refuse_missing: bool = False) -> None:
        self.path, self.entry, self.refuse_missing = path, entry, refuse_missing
        declared = {name: len(i.over) + 1 for name, i in entry.system.inputs.items()}
        own = declared | {BASE + name: 2 for name in declared}
        opened = open_rows(path, own | dict.fromkeys(entry.source.references, 1))
        self.opened: Arrays | Labelled | Dataset
        self.opened = read_data(path, entry) if opened is None else opened
        self.most: float | None = None
        if isinstance(opened, Arrays) and opened.arrays["x"].dtype.kind in "iu":
            self.most = largest_of(opened.arrays["x"])  # of all: a part alone may be dark

    def __len__(self) -> int:
        return len(self.opened)

    def subset(self, index: slice) -> Dataset:
        """Some of the observations; those that cannot be used have no samples."""
        if isinstance(self.opened, Dataset):
            return self.opened.subset(index)
        data = _parsed(
            self.opened.part(index),
            self.entry,
            self.path,
            quiet=index.start > 0,
            largest=self.most,
        )
        return _checked(
            data, self.entry, self.path, refuse_missing=self.refuse_missing, first=index.start
        )


def _parsed(
    source: Path | dict[str, np.ndarray] | xr.Dataset,
    entry: Entry,
    path: Path,
    how: Reading | None = None,
    *,
    quiet: bool = False,
    largest: float | None = None,
) -> Dataset:
    """A data file of one system, or part of it, as it stands there.

    ``quiet``: what is odd was said before; ``largest``: value of the whole, of which it is a part.
    """
    system = entry.system
    columns = how.columns if how is not None else ()
    if isinstance(source, Path) and path.suffix in entry.source.readers:
        return entry.source.readers[path.suffix](path)
    if path.suffix in TABLES or system.inputs or columns:
        return read(
            source,
            **_named(columns),
            inputs=system.inputs,
            truth=entry.source.references,
            coordinates=system.coordinates,
            time_unit=system.time_unit,
        )
    names, latents = tuple(system.coordinates), tuple(entry.source.references)
    if isinstance(source, Path):
        data = load_dataset(source, coordinates=names, latents=latents)
        return _doubted(data, look_into(source), entry, path)
    assert isinstance(source, dict)
    data = dataset_of(source, path, coordinates=names, latents=latents)
    return _doubted(data, source, entry, path, quiet=quiet, largest=largest)


def _checked(
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


def _named(columns: Iterable[str]) -> dict[str, Any]:
    """Arguments of ``read`` from ROLE=NAME."""
    given = assigned("--columns", columns)
    for role in given:
        if role not in ROLES:
            raise InputError(f"--columns names {role!r}, expected one of {', '.join(ROLES)}")
    arguments = {"observation": "observation", "channel": "channel", "time": "t"}
    found: dict[str, Any] = {name: given[k] for k, name in arguments.items() if k in given}
    values = tuple(name.strip() for name in given.get("value", "").split(",") if name.strip())
    return {**found, "x": values} if values else found


def _doubted(
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
    usual = simulated(entry, 1, 0)
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
