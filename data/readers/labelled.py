"""Labelled arrays: xarray's, and the netCDF and Zarr that it reads, with units in attrs.

Dimensions are ``observation``, ``time`` and the rest; without ``observation`` the whole is one
observation. Times of each observation's own are a variable or a coordinate ``t`` (observation,
time), padded with NaN at the end. Variables over ``observation`` alone, over ``time`` alone or
over both are known inputs, or true latents where they are named so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.input import BASE
from groundvae.data.npz import numbers
from groundvae.data.readers.wanted import (
    CENSORED,
    ERROR,
    OBSERVATION,
    TIMES,
    VALUES,
    Wanted,
    stepped,
)

SECONDS = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("us", "microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
HDF5, NETCDF3 = b"\x89HDF\r\n\x1a\n", b"CDF"


def read_labelled(found: xr.Dataset | xr.DataArray, wanted: Wanted, source: str) -> Dataset:
    """The observations of an xarray Dataset or DataArray.

    Raises:
        InputError: nothing that could be ``x``, text, times in a unit that is none, or shapes that
            do not agree.

    """
    dataset = found if isinstance(found, xr.Dataset) else found.to_dataset(name=found.name or "x")
    name = _observed(dataset, wanted, source)
    named = wanted.observation or OBSERVATION
    if named in dataset.dims and named != OBSERVATION:
        dataset = dataset.rename({named: OBSERVATION})
    alone = OBSERVATION not in dataset[name].dims
    if alone:  # one record: what knows its time belongs to it
        dataset = dataset.assign({name: dataset[name].expand_dims(OBSERVATION)})
    time = _time_axis(dataset, name, wanted)
    rest = [str(d) for d in dataset[name].dims if d not in (OBSERVATION, time)]
    order = [OBSERVATION, *([time] if time else []), *rest]
    arrays: dict[str, np.ndarray] = {"x": dataset[name].transpose(*order).values}
    units = {"x": str(dataset[name].attrs.get("units", ""))}
    taken = {name, *map(str, dataset[name].dims)}
    if time:
        times, key = _times(dataset, time, wanted, source)
        taken.add(key)
        if times is not None:
            arrays["t"] = times
    for mark in (ERROR, CENSORED):
        if mark in dataset.variables:
            arrays[mark] = _like(dataset[name], dataset[mark], order, mark, source)
            taken.add(mark)
    for axis in rest:
        array = next((a for a, b in wanted.coordinates.items() if b == axis), axis)
        if axis in dataset.coords and dataset[axis].dtype.kind in "biuf":
            arrays[array] = dataset[axis].values
    own = set()
    for variable in map(str, dataset.variables):
        dims = dataset[variable].dims
        if variable in taken or not set(dims) <= {OBSERVATION, time}:
            continue
        if dataset[variable].dtype.kind not in "biuf" and variable not in (wanted.inputs or {}):
            continue
        arrays[variable] = dataset[variable].transpose(*[d for d in order if d in dims]).values
        units[variable] = str(dataset[variable].attrs.get("units", ""))
        own |= {variable} if OBSERVATION in dims else set()
    return _assembled(arrays, own, units, labels_of(dataset, [OBSERVATION, *rest]), wanted, source)


def _assembled(
    arrays: dict[str, np.ndarray],
    own: set[str],
    units: dict[str, str],
    labels: dict[str, tuple[str, ...]],
    wanted: Wanted,
    source: str,
) -> Dataset:
    """A Dataset of arrays whose axes are known: nothing is told by shapes."""
    try:
        for name in sorted(set(wanted.inputs or {}) - set(arrays)):
            raise InputError(f"has no variable {name!r}, found: {', '.join(arrays)}")
        error, censored = (
            numbers(arrays.pop(k), float) if k in arrays else None for k in (ERROR, CENSORED)
        )
        names = {"x", "t", *wanted.coordinates, *wanted.truth}
        others = [k for k in arrays if k not in names and arrays[k].dtype.kind in "biuf"]
        inputs = {
            k: numbers(arrays[k], float)
            for k in (others if wanted.inputs is None else wanted.inputs)
        }
        if wanted.inputs is None:
            inputs = {k: v for k, v in inputs.items() if k in own or np.isfinite(v).all()}
        else:
            inputs |= {
                BASE + k: numbers(arrays[BASE + k], float) for k in inputs if BASE + k in arrays
            }
        coordinates = {k: numbers(arrays[k], float) for k in (*wanted.coordinates,) if k in arrays}
        truth = {k: numbers(arrays[k], float) for k in wanted.truth if k in arrays}
        x = numbers(arrays["x"], np.float32)
        kept = {k: v for k, v in units.items() if v and k in ("x", *inputs, *truth)}
        own &= set(inputs)
        known = frozenset(own)
        return Dataset(x, coordinates, truth, inputs, known, error, censored, labels, kept)
    except TypeError as error:
        raise InputError(f"{source}: holds arrays that are not numbers ({error})") from error
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _observed(dataset: xr.Dataset, wanted: Wanted, source: str) -> str:
    """The variable that is observed."""
    variables = [str(k) for k in dataset.data_vars]
    if len(wanted.x) > 1:
        raise InputError(f"{source}: x names {len(wanted.x)} variables, expected one")
    if wanted.x:
        if wanted.x[0] not in variables:
            known = ", ".join(variables) or "none"
            raise InputError(f"{source}: has no variable {wanted.x[0]!r}, found: {known}")
        return wanted.x[0]
    usual = next((k for k in VALUES if k in variables), None)
    if usual is not None:
        return usual
    apart = {*TIMES, ERROR, CENSORED, *wanted.truth, *(wanted.inputs or {})}
    others = [k for k in variables if k not in apart]
    if len(others) != 1:
        known = ", ".join(variables) or "none"
        raise InputError(f"{source}: has the variables {known}, expected x= the observed one")
    return others[0]


def _time_axis(dataset: xr.Dataset, name: str, wanted: Wanted) -> str:
    """The dimension that is time; "" where there is none."""
    dims = [str(d) for d in dataset[name].dims]
    if isinstance(wanted.t, str) and wanted.t in dims:
        return wanted.t
    usual = next((d for d in TIMES if d in dims), None)
    if usual is not None:
        return usual
    own = next((k for k in TIMES if k in dataset.variables), None)
    if own is not None:
        return next((str(d) for d in dataset[own].dims if d in dims and d != OBSERVATION), "")
    return ""


def _times(
    dataset: xr.Dataset, axis: str, wanted: Wanted, source: str
) -> tuple[np.ndarray | None, str]:
    """Times in s, (time,) or (observation, time), and the name of what holds them."""
    if wanted.t is not None and not isinstance(wanted.t, str):
        return stepped(wanted.t, dataset.sizes[axis], source), axis
    names = [wanted.t] if isinstance(wanted.t, str) else [*TIMES]
    several = [k for k in (*names, axis) if k in dataset.variables]
    if not several:
        return None, axis
    key = max(several, key=lambda k: dataset[k].ndim)  # of each one's own before an index
    variable = dataset[key]
    dims = [d for d in (OBSERVATION, axis) if d in variable.dims]
    values = variable.transpose(*dims).values if len(dims) == variable.ndim else variable.values
    if wanted.time_unit not in SECONDS:
        if variable.attrs.get("units", wanted.time_unit) != wanted.time_unit:
            raise InputError(
                f"{source}: {key} states a unit, and the law's times are in {wanted.time_unit!r}, "
                f"expected one of {', '.join(filter(None, SECONDS))} there, or none stated"
            )
        return numbers(values, float), key
    law = SECONDS[wanted.time_unit]
    if values.dtype.kind in "mM":
        start = np.nanmin(values)
        return (values - start) / np.timedelta64(1, "s") / law, key
    unit = str(variable.attrs.get("units", "")).strip() or wanted.time_unit
    if unit not in SECONDS:
        raise InputError(f"{source}: {key} is in {unit!r}, expected s, ms, us, min, h or d")
    try:
        times = numbers(values, float)
    except TypeError as error:
        raise InputError(f"{source}: {key} holds no numbers ({error})") from error
    return (times if SECONDS[unit] == law else SECONDS[unit] / law * times), key


def _like(
    x: xr.DataArray, values: xr.DataArray, order: list[str], name: str, source: str
) -> np.ndarray:
    """Values on the axes of ``x``, repeated along those that they lack."""
    if not set(values.dims) <= set(x.dims):
        raise InputError(f"{source}: {name} has axes {values.dims}, expected some of {x.dims}")
    return np.asarray(values.broadcast_like(x).transpose(*order).values)


def labels_of(dataset: xr.Dataset, axes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Names of the entries of axes, where they are texts."""
    return {
        axis: tuple(map(str, dataset[axis].values))
        for axis in axes
        if axis in dataset.coords and dataset[axis].dtype.kind in "OUST"
    }


def open_labelled(path: Path, wanted: Wanted) -> Dataset:
    """A netCDF file (3 or 4), or a Zarr folder where zarr is installed.

    Raises:
        InputError: damaged, another format, or what ``read_labelled`` refuses.

    """
    try:
        with lazily(path) as opened:
            loaded = opened.load()
    except InputError:
        raise
    except Exception as error:  # readers of damaged files raise whatever they come upon
        raise _unreadable(path, error) from error
    return read_labelled(loaded, wanted, str(path))


def lazily(path: Path) -> xr.Dataset:
    """A netCDF file or a Zarr folder, whose values are read when they are used.

    Raises:
        InputError: damaged, or another format.

    """
    options: dict[str, Any] = {"decode_timedelta": False}
    if path.is_dir():
        options["engine"] = _zarr(path)
    elif not path.exists():
        raise InputError(f"{path}: no such file, expected netCDF or Zarr")
    else:
        with path.open("rb") as stream:
            start = stream.read(len(HDF5))
        if start == HDF5:
            options["engine"] = "h5netcdf"
        elif start.startswith(NETCDF3):
            options["engine"] = "scipy"
        else:
            kind, form = ("Zarr", "folder") if path.suffix == ".zarr" else ("netCDF", "file")
            raise InputError(f"{path}: is no {kind}, expected a {form} of that format")
    try:
        return xr.open_dataset(path, **options)
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(f"{path}: cannot be read ({reason})")


def _zarr(path: Path) -> str:
    if "zarr" not in xr.backends.list_engines():
        raise InputError(
            f"{path}: Zarr needs the package zarr, expected `pip install groundvae[cluster]`"
        )
    return "zarr"
