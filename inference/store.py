"""A posterior in a Zarr folder, written block by block, by as many as like to.

Every block has chunks of its own in every array, so nobody waits for anybody; that it is whole
is written last, into ``constant_data.written``. What is asked for stands in the attributes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
import zarr

from groundvae.data.errors import InputError
from groundvae.inference import arviz as az
from groundvae.inference.inferencedata import assembled
from groundvae.inference.observed import NAME

MARKS, AXIS, ASKED, BLOCK = "constant_data", "observation", "asked", "block"
WRITTEN, UNUSABLE, AWAY = "written", "unusable", "runaway_draws"
ALWAYS = {WRITTEN: bool, UNUSABLE: bool, AWAY: np.int64}
"""Of every observation, whether or not any is marked."""
FORMAT: Literal[2] = 2  # of Zarr: read by old and new versions alike
SPARE = 0.9  # of the numbers' size, that they take on disk


class Store:
    """The folder, once it is there; ``size``: observations of a block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.root = zarr.open_group(path, mode="r+")
            self.size = int(self.root.attrs[BLOCK])  # type: ignore[arg-type]
            self.asked: dict[str, Any] = json.loads(str(self.root.attrs[ASKED]))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"{path}: is no posterior of groundvae's, expected a new name"
            ) from error

    def __len__(self) -> int:
        return int(self._array(MARKS, WRITTEN).shape[0])

    def _array(self, group: str, name: str) -> zarr.Array[Any]:
        found = self.root[f"{group}/{name}"]
        assert isinstance(found, zarr.Array)
        return found

    def refuse_other(self, asked: Mapping[str, Any]) -> None:
        """Refuse to go on with what was begun as something else.

        Raises:
            InputError: it names what differs.

        """
        other = [k for k in asked if self.asked.get(k) != asked[k]]
        if other:
            raise InputError(
                f"{self.path}: was begun with another {other[0]}, expected the same, or a new name"
            )

    def missing(self) -> list[int]:
        """First observations of the blocks that are not there yet."""
        there = np.asarray(self._array(MARKS, WRITTEN)[:])
        return [i for i in range(0, len(there), self.size) if not there[i]]

    def write(self, part: az.InferenceData, first: int) -> None:
        """Write the block that begins with observation ``first``.

        Raises:
            InputError: it has other axes than the first one.

        """
        for group in part.groups():
            for name, variable in part[group].data_vars.items():
                if AXIS in variable.dims and name != NAME:  # it stood there from the beginning
                    self._put(group, str(name), variable.variable, first)
        self._seal(first)

    def give_up(self, first: int) -> None:
        """Mark a whole block as unusable; its values are missing."""
        marks = self._array(MARKS, UNUSABLE)
        marks[first : first + self.size] = np.ones(min(self.size, len(self) - first), dtype=bool)
        self._seal(first)

    def _seal(self, first: int) -> None:
        whole = self._array(MARKS, WRITTEN)
        whole[first : first + self.size] = np.ones(min(self.size, len(self) - first), dtype=bool)

    def _put(self, group: str, name: str, values: xr.Variable, first: int) -> None:
        array, place = self._array(group, name), values.dims.index(AXIS)
        n = values.sizes[AXIS]
        expected = (*array.shape[:place], n, *array.shape[place + 1 :])
        if values.shape != expected:
            raise InputError(
                f"{self.path}: {name} of observations {first} to {first + n - 1} has shape "
                f"{values.shape}, expected {expected}, as those before"
            )
        array[(slice(None),) * place + (slice(first, first + n),)] = values.values


def create(
    path: Path,
    like: az.InferenceData,
    count: int,
    size: int,
    asked: Mapping[str, Any],
    names: Sequence[str] = (),
) -> Store:
    """A new store of ``count`` observations in blocks of ``size``, of which none is written.

    Args:
        path: of the folder, which is not there yet.
        like: the posterior of some observations: its arrays, without values.
        count: of observations.
        size: of a block.
        asked: what it is the answer to, as plain values.
        names: of all observations, where they have some.

    Raises:
        InputError: it cannot be written, or does not fit on the disk.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    groups = {group: _blank(like[group], count, size) for group in like.groups()}
    marks = groups.setdefault(MARKS, xr.Dataset(coords={AXIS: np.arange(count)}))
    always = {k: (AXIS, da.zeros(count, chunks=size, dtype=kind)) for k, kind in ALWAYS.items()}
    groups[MARKS] = marks.assign({k: v for k, v in always.items() if k not in marks})
    if names:  # at once: their longest is not known to a block
        groups[MARKS][NAME] = ((AXIS,), np.array(names, str))
    _check_room(path, sum(dataset.nbytes for dataset in groups.values()))
    attrs = {**like.attrs, BLOCK: size, ASKED: json.dumps(dict(asked))}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as temporary:
        made = Path(temporary) / "whole"
        how: dict[str, Any] = {"consolidated": False, "zarr_format": FORMAT}
        xr.Dataset(attrs=attrs).to_zarr(made, mode="w", **how)
        for group, dataset in groups.items():
            dataset.to_zarr(made, group=group, mode="a", compute=False, **how)
        zarr.consolidate_metadata(str(made), zarr_format=FORMAT)
        made.rename(path)
    return Store(path)


def _blank(dataset: xr.Dataset, count: int, size: int) -> xr.Dataset:
    """The same variables for ``count`` observations, in chunks of ``size``, to be filled."""
    found = {}
    for name, variable in dataset.data_vars.items():
        if AXIS not in variable.dims:
            found[name] = variable.variable
            continue
        shape = [count if d == AXIS else n for d, n in variable.sizes.items()]
        chunks = [size if d == AXIS else n for d, n in variable.sizes.items()]
        empty = da.zeros(shape, chunks=chunks, dtype=variable.dtype)
        found[name] = xr.Variable(variable.dims, empty, variable.attrs)
    coords = {k: v.variable for k, v in dataset.coords.items() if AXIS not in v.dims}
    if AXIS in dataset.dims:
        coords[AXIS] = xr.Variable((AXIS,), np.arange(count))
    return xr.Dataset(found, coords=coords)


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if SPARE * needed > free:
        raise InputError(
            f"{path}: needs about {needed / 1e9:.3g} GB, {free / 1e9:.3g} GB are free, expected "
            "fewer --draws and --predictive-draws, or another disk"
        )


def read_store(path: Path | str) -> az.InferenceData:
    """The posterior of a store, for ArviZ; values are read when they are used, or by ``load``.

    Raises:
        InputError: there is none, or some of it is not written yet.

    """
    left = len(Store(Path(path)).missing())
    if left:
        raise InputError(f"{path}: {left} blocks are not written yet, expected all")
    tree = xr.open_datatree(path, engine="zarr")
    groups = {name: child.to_dataset() for name, child in tree.children.items()}
    marks = groups[MARKS]
    none = [k for k in (UNUSABLE, AWAY) if not bool(marks[k].any())]
    groups[MARKS] = marks.drop_vars([WRITTEN, *none])
    attrs = {str(k): v for k, v in tree.attrs.items() if k not in (ASKED, BLOCK)}
    return assembled(groups, attrs)
