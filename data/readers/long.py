"""Long tables: one row for each sample, ``observation,time[,channel],value`` and more columns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.input import BASE, is_base
from groundvae.data.npz import numbers
from groundvae.data.readers.layout import Layout
from groundvae.data.readers.table import MISSING, Table
from groundvae.data.readers.wanted import (
    CENSORED,
    CHANNEL,
    ERROR,
    GROUP,
    OBSERVATION,
    TIMES,
    VALUES,
    Roles,
    Wanted,
    first_of,
)

SIDES = {"left": -1.0, "none": 0.0, "right": 1.0, "false": 0.0, "true": 1.0}


def find_roles(table: Table, wanted: Wanted) -> Roles | None:
    """What the columns are, by the names given or the usual ones; None: this is no long table.

    Raises:
        InputError: a name that was given is no column.

    """
    given = [n for n in (wanted.observation, wanted.channel) if n is not None]
    given += [wanted.t] if isinstance(wanted.t, str) else []
    for name in (*given, *wanted.x):
        table.column(name)
    columns = table.columns
    time = wanted.t if isinstance(wanted.t, str) else None
    if wanted.t is None:
        time = first_of(TIMES, columns)
    observation = wanted.observation or (OBSERVATION if OBSERVATION in columns else None)
    channel = wanted.channel or (CHANNEL if CHANNEL in columns else None)
    if time is None and wanted.t is None:
        return None
    x = wanted.x
    if not x:
        usual = first_of(VALUES, columns)
        apart = {time, observation, channel, ERROR, CENSORED, *wanted.truth, *(wanted.inputs or {})}
        others = [name for name in columns if name not in apart and not table.is_text(name)]
        if usual is None and len(others) != 1:
            raise InputError(
                f"{table.source}: has no column 'value' and other columns {', '.join(others)}, "
                "expected the name (or names) of what is observed, as x= in Python or --columns "
                "value=NAME"
            )
        x = (usual or others[0],)
    if channel is not None and len(x) > 1:
        raise InputError(f"{table.source}: has a column {channel!r}, expected one column of values")
    return Roles(x, time, observation, channel)


def read_long(table: Table, roles: Roles, wanted: Wanted) -> Dataset:
    """The observations of a long table.

    Raises:
        InputError: text where numbers should be, times that do not increase, an observation
            without samples, a covariate that changes within an observation.

    """
    layout = Layout.of(table, roles, wanted)
    alone = layout.count == 1  # of several, one that is not finite costs itself
    values = [layout.place(table.numbers(name, finite=alone)) for name in roles.x]
    x = values[0] if len(values) == 1 else np.stack(values, -1)
    _refuse_empty(table, layout, x)
    error, censored = (
        _marks(layout, convert(name), x.shape) if name in table.columns else None
        for name, convert in ((ERROR, table.numbers), (CENSORED, _sides(table)))
    )
    grouped = GROUP in table.columns and GROUP not in (wanted.inputs or {})
    known = roles.names | {ERROR, CENSORED, *wanted.truth, *([GROUP] if grouped else [])}
    rest = [n for n in table.columns if n not in known]
    inputs = _inputs(layout, rest, wanted)
    labels = {k: v for k, v in (("observation", layout.names), ("channel", layout.channels)) if v}
    if grouped:
        labels["group"] = layout.name_of_each(table.texts(GROUP), GROUP)
    if len(roles.x) > 1:
        labels["channel"] = roles.x
    return Dataset(
        numbers(x, np.float32),
        {"t": layout.times},
        {k: layout.constant(k, table.numbers(k)) for k in wanted.truth if k in table.columns},
        inputs,
        frozenset(inputs),
        error,
        censored,
        labels,
    )


def _inputs(layout: Layout, rest: list[str], wanted: Wanted) -> dict[str, np.ndarray]:
    """Known inputs among the columns ``rest``, or those asked for, and times of their own."""
    inputs: dict[str, np.ndarray] = {}
    names = wanted.input_names(rest)
    for name in names:
        declared, base = wanted.declared(name), BASE + name
        if base in rest and (declared is None or declared.over):
            inputs[name], inputs[base] = layout.clocked(name, base)
        elif not is_base(name, names):
            found = layout.known(name, wanted)
            if found is not None:
                inputs[name] = found
    return inputs


def _sides(table: Table) -> Callable[[str], np.ndarray]:
    """How a column of censoring is read: -1, 0 and 1, or left, none and right."""

    def read(name: str) -> np.ndarray:
        column = table.column(name)
        if column.dtype.kind != "f":
            for row, cell in enumerate(column):
                if cell.lower() not in {*SIDES, *MISSING} and cell.strip("-.0") not in ("", "1"):
                    place = f"{table.place(row)}: {name} is {cell[:40]!r}"
                    raise InputError(f"{place}, expected left, none or right (or -1, 0 or 1)")
            column = np.array([str(SIDES.get(c.lower(), c)) for c in column], dtype=object)
        told = Table(table.source, {name: column}, table.lines, table.word)
        return np.nan_to_num(told.numbers(name))

    return read


def _marks(layout: Layout, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Marks of samples, of the shape of ``x``: those of a row hold for all of its channels."""
    marks = layout.place(values)
    return np.broadcast_to(marks[..., None], shape).copy() if marks.ndim < len(shape) else marks


def _refuse_empty(table: Table, layout: Layout, x: np.ndarray) -> None:
    empty = np.isnan(x).reshape(len(x), -1).all(axis=1)
    if empty.any():
        where = layout.name(int(empty.argmax()))
        raise InputError(f"{table.source}: observation {where} has no samples, expected some")
