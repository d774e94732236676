"""Windows of long records: each is an observation, which begins in the middle of a motion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.input import is_base
from groundvae.data.times import stacked, within

BEGAN = "window_start"
DIGITS = 9  # of a time, as a share of a window: starts are not told more exactly
LEAST = 3  # samples of a window
SHARE = 0.5  # of a window that has to be there at the end of a record


def windows(
    data: Dataset, length: float, *, every: float | None = None, truth: Sequence[str] = ()
) -> Dataset:
    """Cut every record into windows, each an observation whose time begins at 0.

    A window starts in the middle of a motion: the states at its start are latents, not at rest.
    Windows of one record are one group, which a split keeps together.

    Args:
        data: one record or several, on times ``t``.
        length: of a window, s.
        every: from the start of one to that of the next, s; as long as a window where None.
        truth: names of true latents that hold for every window; others are dropped.

    Returns:
        ``x`` (window, *event), with the input ``window_start`` (window,), s, for laws that change
        with time.

    Raises:
        InputError: data without times, or no window that holds three samples.

    Examples:
        >>> record = Dataset(np.ones((1, 100)), {"t": np.arange(100) * 0.1})
        >>> windows(record, 2.0).x.shape
        (5, 20)

    """
    if "t" not in data.coordinates:
        raise InputError("the data have no times, expected 't' in s to cut windows of")
    every = length if every is None else every
    if not (length > 0 and every > 0):
        raise InputError(f"windows of {length:g} s every {every:g} s, expected both above 0")
    rows = np.broadcast_to(data.coordinates["t"], data.x.shape[:2])
    cuts = [cut for i, row in enumerate(rows) for cut in _cuts(i, row, length, every)]
    cuts = [cut for cut in cuts if not np.isnan(data.x[cut[0], cut[1]]).all()]
    if not cuts:
        raise InputError(f"no window of {length:g} s holds {LEAST} samples, expected longer ones")
    times = [
        np.round((rows[i, steps] - start) / length, DIGITS) * length for i, steps, start in cuts
    ]
    longest = max(times, key=len)
    shared = all(np.array_equal(each, longest[: len(each)]) for each in times)
    record = np.array([i for i, _, _ in cuts])
    inputs, own = _inputs(data, cuts)
    return Dataset(
        _stacked(data.x, cuts),
        {**data.coordinates, "t": longest if shared else stacked(times)},
        {k: data.truth[k][record] for k in truth if k in data.truth},
        inputs,
        own,
        None if data.error is None else _stacked(data.error, cuts),
        None if data.censored is None else _stacked(data.censored, cuts),
        _labels(data, cuts),
        data.units,
    )


Cut = tuple[int, slice, float]
"""A record, the samples of a window, and when it starts, s."""


def _labels(data: Dataset, cuts: Sequence[Cut]) -> dict[str, tuple[str, ...]]:
    """Names of the windows, and their records as groups."""
    names = data.names or tuple(map(str, range(len(data))))
    groups = data.labels.get("group", names)
    return {
        **data.labels,
        "observation": tuple(f"{names[i]} from {start:g} s" for i, _, start in cuts),
        "group": tuple(groups[i] for i, _, _ in cuts),
    }


def _cuts(record: int, times: np.ndarray, length: float, every: float) -> list[Cut]:
    times = times[: int(within(times[None]).sum())]
    slack = 1e-6 * length
    found = []
    for start in np.arange(times[0], times[-1], every):
        first, last = np.searchsorted(times, [start - slack, start + length - slack])
        inside = times[first:last]
        if len(inside) >= LEAST and inside[-1] - inside[0] > SHARE * length + slack:
            found.append((record, slice(int(first), int(last)), float(times[first])))
    return found


def _stacked(values: np.ndarray, cuts: Sequence[Cut]) -> np.ndarray:
    """Windows (window, time, ...) of values (observation, time, ...), padded with NaN."""
    longest = max(steps.stop - steps.start for _, steps, _ in cuts)
    whole = np.full((len(cuts), longest, *values.shape[2:]), np.nan, values.dtype)
    for place, (i, steps, _) in enumerate(cuts):
        whole[place, : steps.stop - steps.start] = values[i, steps]
    return whole


def _inputs(data: Dataset, cuts: Sequence[Cut]) -> tuple[dict[str, np.ndarray], frozenset[str]]:
    """Inputs of each window; a signal's own times move with the window."""
    record = np.array([i for i, _, _ in cuts])
    start = np.array([s for _, _, s in cuts])
    found: dict[str, np.ndarray] = {BEGAN: start}
    for name, value in data.inputs.items():
        own = value if name in data.own else np.broadcast_to(value, (len(data), *value.shape))
        if name in data.signals:
            found[name] = _stacked(np.asarray(own, dtype=float), cuts)
        elif is_base(name, data.inputs):
            found[name] = own[record] - start.reshape(-1, *[1] * (own.ndim - 1))
        else:
            found[name] = np.asarray(own[record])
    return found, frozenset(found)
