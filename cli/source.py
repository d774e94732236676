"""Where a command's observations come from: a file, or the system's own simulator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from groundvae.cli.acceptance import accepted, as_meant
from groundvae.cli.commands import Reading
from groundvae.cli.console import note
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.input import BASE
from groundvae.data.npz import largest_of, look_into
from groundvae.data.readers.named import dataset_of, load_dataset
from groundvae.data.reading import read
from groundvae.data.root import Splits
from groundvae.data.rows import Arrays, Labelled, open_rows
from groundvae.data.windows import windows
from groundvae.models.catalogue import Entry
from groundvae.models.prior import split_assignment
from groundvae.models.recipe import Recipe

TRAIN, VALID, TEST = (1000, 1), (500, 2), (1000, 3)
"""Size and seed of the default splits."""

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
    return accepted(data, entry, path, refuse_missing=refuse_missing)


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

    @property
    def names(self) -> tuple[str, ...]:
        """What all of them are called; empty where they have no names."""
        return self.opened.names

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
        return accepted(
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
        return as_meant(data, look_into(source), entry, path)
    assert isinstance(source, dict)
    data = dataset_of(source, path, coordinates=names, latents=latents)
    return as_meant(data, source, entry, path, quiet=quiet, largest=largest)


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
