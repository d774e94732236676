"""Data as people have them: one function for files, tables, labelled arrays and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.input import Input
from groundvae.data.readers.arrays import read_arrays, read_file
from groundvae.data.readers.long import find_roles, read_long
from groundvae.data.readers.table import Table, from_frame, read_csv, read_parquet
from groundvae.data.readers.wanted import Times, Wanted
from groundvae.data.readers.wide import read_wide, times_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

TEXT = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
LABELLED = (".nc", ".nc4", ".netcdf", ".zarr")
KNOWN = ".npz, .csv, .tsv, .txt, .parquet, .nc or .zarr"
MAGIC = {b"PK\x03\x04": "a zip (as .npz)", b"PAR1": "Parquet", b"\x89HDF": "HDF5 (as .nc)"}


def read(
    source: str | Path | pd.DataFrame | xr.Dataset | xr.DataArray | Mapping[str, Any] | np.ndarray,
    *,
    x: str | Sequence[str] | None = None,
    t: str | float | np.ndarray | Sequence[float] | None = None,
    observation: str | None = None,
    channel: str | None = None,
    inputs: Mapping[str, Input] | Sequence[str] | None = None,
    truth: Sequence[str] = (),
    coordinates: Mapping[str, str] | None = None,
    time_unit: str = "s",
) -> Dataset:
    """Observations from a file, a table, labelled arrays or arrays.

    A **long** table has one row a sample: columns ``time`` or ``t`` (s, increasing within an
    observation), ``value`` or ``x``, and where there are several ``observation`` and
    ``channel``; also ``error`` (standard deviation of the sample) and ``censored`` (-1, 0, 1, or
    left, none, right), and ``group``, of what a split keeps together. Other columns are known
    inputs: one number an observation, or over time.
    A **wide** table has one row an observation, and columns named by times: ``0.05`` or
    ``t=0.05``. Empty cells, ``NA``, ``NaN`` are missing; lines that begin with ``#`` are comments.
    Times that all observations share are kept once, (time,); else each has its own,
    (observation, time), of any length. One record alone is one observation.

    Args:
        source: a path (``.npz``; ``.csv``, ``.tsv``, ``.txt``; ``.parquet``; ``.nc``; ``.zarr``),
            a pandas DataFrame, an xarray Dataset or DataArray, arrays by name, or ``x`` itself
            (observation, *event).
        x: what is observed: a name, or several columns of a table, which are channels.
        t: the times: a name; the step between samples; or the times (time,).
        observation: the column (or dimension) that says which observation something belongs to.
        channel: the column that says which channel a row belongs to.
        inputs: known inputs by name, as a system declares them, or names; None keeps all there are.
        truth: names of true latents, one number for each observation; those that are there count.
        coordinates: which array labels which axis, as a system has it; ``{"t": "time"}``.
        time_unit: of the law, to which stated units of times (netCDF, Zarr, xarray) are carried.

    Returns:
        A Dataset with ``x`` (observation, *event) in single precision.

    Raises:
        InputError: what is wrong, in which file and line or observation, what was expected.

    Examples:
        >>> read({"x": np.ones((2, 3)), "mass": np.array([1.0, 2.0])}, t=0.1).coordinates["t"]
        array([0. , 0.1, 0.2])

    """
    wanted = Wanted(
        x=() if x is None else (x,) if isinstance(x, str) else tuple(x),
        t=_times(t),
        observation=observation,
        channel=channel,
        inputs=_inputs(inputs),
        truth=(truth,) if isinstance(truth, str) else tuple(truth),
        coordinates={"t": "time"} if coordinates is None else dict(coordinates),
        time_unit=time_unit,
    )
    data = _read(source, wanted)
    return data.declare(inputs) if isinstance(inputs, Mapping) else data


def _read(source: Any, wanted: Wanted) -> Dataset:
    if isinstance(source, str | Path):
        return _read_path(Path(source), wanted)
    if isinstance(source, np.ndarray):
        return read_arrays({wanted.x[0] if wanted.x else "x": source}, wanted, "the array")
    kind = f"{type(source).__module__.partition('.')[0]}.{type(source).__name__}"
    if kind == "pandas.DataFrame":
        return _read_table(from_frame(source, "the DataFrame"), wanted)
    if kind in ("xarray.Dataset", "xarray.DataArray"):
        from groundvae.data.readers.labelled import read_labelled

        return read_labelled(source, wanted, f"the {type(source).__name__}")
    if isinstance(source, Mapping):
        arrays = {str(name): np.asarray(value) for name, value in source.items()}
        return read_arrays(arrays, wanted, "the arrays")
    raise InputError(
        f"data cannot be read from {kind}, expected a path, a pandas DataFrame, an xarray Dataset "
        "or arrays by name"
    )


def _read_path(path: Path, wanted: Wanted) -> Dataset:
    suffix = path.suffix.lower()
    if suffix not in (".npz", *TEXT, *PARQUET, *LABELLED):
        raise InputError(f"{path}: ends in {suffix or 'nothing'!r}, expected {KNOWN}")
    if suffix == ".npz":
        return read_file(path, wanted)
    if not path.exists() or (path.is_dir() and suffix != ".zarr"):
        raise InputError(f"{path}: no such file, expected {KNOWN}")
    if suffix in LABELLED:
        from groundvae.data.readers.labelled import open_labelled

        return open_labelled(path, wanted)
    if suffix in PARQUET:
        return _read_table(read_parquet(path), wanted)
    _refuse_other_formats(path)
    return _read_table(read_csv(path), wanted)


def _refuse_other_formats(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if start in MAGIC:
        raise InputError(f"{path}: is {MAGIC[start]}, expected a table of text, as its name says")


def _read_table(table: Table, wanted: Wanted) -> Dataset:
    try:
        roles = find_roles(table, wanted)
        if roles is not None:
            return read_long(table, roles, wanted)
        if times_of(table):
            return read_wide(table, wanted)
    except InputError as error:
        told = str(error)
        raise InputError(
            told if told.startswith(table.source) else f"{table.source}: {told}"
        ) from error
    known = ", ".join(table.columns)
    raise InputError(
        f"{table.source}: has the columns {known}, expected observation, time and value, or one "
        "row an observation and columns named by times; names of your own are given as x=, t= and "
        "observation= in Python, or --columns value=NAME time=NAME observation=NAME"
    )


def _times(t: Any) -> Times | None:
    if t is None or isinstance(t, str):
        return t
    try:
        values = np.asarray(t, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"t is {t!r}, expected a name, a step in s, or times in s") from error
    return values if values.ndim else float(values)


def _inputs(
    inputs: Mapping[str, Input] | Sequence[str] | None,
) -> Mapping[str, Input | None] | None:
    if inputs is None:
        return None
    if isinstance(inputs, str):
        return {inputs: None}
    return dict(inputs) if isinstance(inputs, Mapping) else dict.fromkeys(inputs)
