"""Times of samples: one grid that all observations share, or one of each observation's own.

Grids of their own are uneven and of different lengths; they stand in one array (observation,
time), padded at the end with NaN.
"""

from __future__ import annotations

import numpy as np

from groundvae.data.errors import InputError

SLACK = 1e-6  # of a span: how much earlier than the data an input may end


def check_times(times: np.ndarray, x: np.ndarray) -> None:
    """Refuse times (time,) or (observation, time), s, that are none of ``x``'s.

    Args:
        times: strictly increasing along time, also in single precision; those of an observation's
            own may end with NaN, where ``x`` (observation, time, ...) then is NaN too.
        x: the observations.

    Raises:
        InputError: another shape, or times that are not finite or do not increase.

    """
    if times.ndim not in (1, 2) or times.size == 0:
        raise InputError(
            f"t has shape {times.shape}, expected (time,) or (observation, time), not empty"
        )
    if times.shape[-1] != x.shape[1]:
        raise InputError(
            f"t has {times.shape[-1]} times, x has {x.shape[1]} samples an observation"
        )
    if times.ndim == 2:
        _check_own_times(times, x)
        return
    if not np.isfinite(times).all() or not (np.diff(times) > 0).all():
        raise InputError("t is not strictly increasing, expected finite increasing times in s")
    if not (np.diff(times.astype(np.float32)) > 0).all():
        raise InputError("t has steps too fine for single precision, expected t to start near 0 s")


def _check_own_times(times: np.ndarray, x: np.ndarray) -> None:
    if len(times) != len(x):
        raise InputError(f"t has {len(times)} rows, expected one for each of {len(x)} observations")
    there = within(times)
    _refuse(np.isnan(times) & there, "t has a gap in observation {}, expected NaN only at its end")
    _refuse(~there[:, :1], "t has no time in observation {}, expected one at least")
    _refuse(np.isinf(times), "t is not finite in observation {}, expected times in s")
    inner = there[:, 1:]
    falls = ~(np.diff(times) > 0) & inner
    _refuse(falls, "t is not strictly increasing in observation {}, expected increasing times in s")
    with np.errstate(over="ignore"):
        merged = ~(np.diff(times.astype(np.float32)) > 0) & inner
    _refuse(
        merged,
        "t has steps too fine for single precision in observation {}, expected t to start near 0 s",
    )
    beyond = ~there.reshape(*there.shape, *[1] * (x.ndim - 2)) & ~np.isnan(x)
    _refuse(beyond, "x has samples beyond the times of observation {}, expected NaN there")


def _refuse(wrong: np.ndarray, message: str) -> None:
    """Say the message, with the first observation of which something is wrong."""
    if wrong.any():
        rows = wrong.reshape(len(wrong), -1).any(axis=1)
        raise InputError(message.format(int(rows.argmax())))


def within(times: np.ndarray) -> np.ndarray:
    """Which places of padded times (observation, time) are not padding, (observation, time).

    >>> within(np.array([[0.0, 1.0, np.nan]])).tolist()
    [[True, True, False]]
    """
    real = ~np.isnan(times)
    after = real[:, ::-1].cumsum(axis=1)[:, ::-1]  # how many real ones from here on
    return np.asarray(after > 0)


def held(values: np.ndarray) -> np.ndarray:
    """Padding replaced by the last value before it, along the last axis; (..., time).

    >>> held(np.array([[0.0, 1.0, np.nan, np.nan]])).tolist()
    [[0.0, 1.0, 1.0, 1.0]]
    """
    places = np.where(np.isnan(values), 0, np.arange(values.shape[-1]))
    return np.take_along_axis(values, np.maximum.accumulate(places, axis=-1), axis=-1)


def shared_grid(grids: list[np.ndarray]) -> np.ndarray | None:
    """The one grid (time,) that the longest of several has whole, if it holds all their times.

    >>> shared_grid([np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0])])
    array([0., 1., 2.])
    >>> shared_grid([np.array([0.0, 1.0]), np.array([0.0, 1.1])]) is None
    True
    """
    longest = max(grids, key=len)
    return longest if all(np.isin(grid, longest).all() for grid in grids) else None


def stacked(rows: list[np.ndarray]) -> np.ndarray:
    """Arrays (time, ...) of different lengths as one (observation, time, ...), padded with NaN."""
    longest = max(len(row) for row in rows)
    whole = np.full((len(rows), longest, *rows[0].shape[1:]), np.nan)
    for row, values in zip(whole, rows, strict=True):
        row[: len(values)] = values
    return whole
