"""Wide tables: one row for each observation, one column for each time.

The header names the times, in s: ``0``, ``0.05``, or ``t=0``, ``t=0.05``. A column
``observation`` names the observations; all other columns are one number an observation: known
inputs, true latents. Empty cells are missing samples.
"""

from __future__ import annotations

import numpy as np

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.npz import numbers
from groundvae.data.readers.table import Table
from groundvae.data.readers.wanted import OBSERVATION, Wanted


def times_of(table: Table) -> dict[str, float]:
    """The columns that are times, with those, s."""
    found = {}
    for name in table.columns:
        text = name.removeprefix("t=").strip()
        try:
            found[name] = float(text)
        except ValueError:
            continue
    return found


def read_wide(table: Table, wanted: Wanted) -> Dataset:
    """The observations of a wide table.

    Raises:
        InputError: text where numbers should be, times that do not increase, an observation
            without samples.

    """
    times = times_of(table)
    grid = np.array(list(times.values()))
    if not np.isfinite(grid).all() or not (np.diff(grid) > 0).all():
        raise InputError(f"{table.source}: the header's times do not increase, expected so, in s")
    x = np.stack([table.numbers(name, finite=len(table) == 1) for name in times], 1)
    empty = np.isnan(x).all(axis=1)
    if empty.any():
        place = table.place(int(empty.argmax()))
        raise InputError(f"{place}: the observation has no samples, expected some")
    named = wanted.observation or (OBSERVATION if OBSERVATION in table.columns else None)
    labels = {} if named is None else {"observation": tuple(table.texts(named))}
    if len(set(labels.get("observation", ()))) < len(labels.get("observation", ())):
        raise InputError(f"{table.source}: {named} holds a name twice, expected one row for each")
    rest = [n for n in table.columns if n not in times and n != named and n not in wanted.truth]
    inputs = {}
    for name in wanted.input_names(rest):
        if wanted.inputs is None and (table.is_text(name) or np.isnan(table.numbers(name)).any()):
            continue
        inputs[name] = _complete(table, name)
    truth = {name: _complete(table, name) for name in wanted.truth if name in table.columns}
    own = frozenset(inputs)
    return Dataset(numbers(x, np.float32), {"t": grid}, truth, inputs, own, labels=labels)


def _complete(table: Table, name: str) -> np.ndarray:
    values = table.numbers(name)
    if np.isnan(values).any():
        place = table.place(int(np.isnan(values).argmax()))
        raise InputError(f"{place}: {name} is missing, expected a number")
    return values
