"""Observations that cannot be used: one that is bad costs itself, and not all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError

FAR = 300.0  # times what the middle one of all reaches: a mark such as -999 rather than a value
SHOWN = 5  # of them named in a sentence


def find_unusable(x: np.ndarray, limits: tuple[float, float] = (-np.inf, np.inf)) -> dict[int, str]:
    """Why observations of ``x`` (observation, *event) cannot be used, by their numbers.

    >>> x = np.ones((5, 3))
    >>> x[1], x[2, 0] = np.nan, -999.0
    >>> find_unusable(x)
    {1: 'no samples', 2: 'reaches -999'}
    """
    flat = x.reshape(len(x), -1)
    there = ~np.isnan(flat)
    infinite = np.isinf(flat).any(axis=1)
    some = there.any(axis=1)
    high = np.where(there, flat, -np.inf).max(axis=1)
    low = np.where(there, flat, np.inf).min(axis=1)
    furthest = np.where(high >= -low, high, low)
    finite = some & ~infinite
    usual = np.median(np.abs(furthest[finite])) if finite.any() else 0.0
    wrong = infinite | some & ((low < limits[0]) | (high > limits[1]))
    wrong |= some & (usual > 0) & (np.abs(furthest) > FAR * usual)
    found = dict.fromkeys(np.flatnonzero(~some).tolist(), "no samples")
    found |= {int(i): f"reaches {furthest[i]:.4g}" for i in np.flatnonzero(wrong)}
    return dict(sorted(found.items()))


def without_values(data: Dataset, rows: Mapping[int, str]) -> Dataset:
    """The same data, of which some observations have no samples.

    Raises:
        InputError: then none has.

    """
    if len(rows) == len(data):
        where, why = next(iter(rows.items()))
        raise InputError(f"no observation can be used, the first of all: {where} ({why})")
    x = data.x.copy()
    x[list(rows)] = np.nan
    return replace(data, x=x) if rows else data


def usable(data: Dataset) -> np.ndarray:
    """Which observations have any samples, all of them finite, (observation,) bool."""
    flat = data.x.reshape(len(data), -1)
    return np.asarray(~np.isnan(flat).all(axis=1) & ~np.isinf(flat).any(axis=1))


def told(rows: Mapping[int, str]) -> str:
    """Some observations and what is wrong with them, in words.

    >>> told({3: "no samples", 7: "reaches -999"})
    '2 observations cannot be used: 3 (no samples), 7 (reaches -999)'
    """
    named = [f"{where} ({why})" for where, why in list(rows.items())[:SHOWN]]
    more = ", ..." if len(rows) > SHOWN else ""
    one = "observation" if len(rows) == 1 else "observations"
    return f"{len(rows)} {one} cannot be used: {', '.join(named)}{more}"
