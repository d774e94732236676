"""The Input: what a system is told of an observation beside the observation itself."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from groundvae.data.errors import InputError
from groundvae.data.times import SLACK, within

if TYPE_CHECKING:
    from groundvae.physics.signal import Interpolation

KINDS = ("linear", "previous")
TIME = "time"
BASE = "t_"
"""An input called ``drive`` is known at the times ``t_drive`` (s) where the data have both, else
at those of the observation."""


@dataclass(frozen=True)
class Input:
    """A known input of a law: a driving signal, a mass, a dose schedule.

    Data hold one array for all observations, of the axes that ``over`` names, or one with an
    axis ``observation`` in front of them: which of the two is told by the number of axes.

    Args:
        unit: SI, such as ``"N"``.
        meaning: what it is, for tables and figures.
        over: its axes: ``()`` a number, ``("time",)`` a signal.
        interpolation: of a signal between its samples: straight lines, or the last sample held.

    Raises:
        InputError: another interpolation, or another axis.

    Examples:
        >>> Input(unit="V", meaning="voltage of the pump", over=("time",)).over
        ('time',)

    """

    unit: str = ""
    meaning: str = ""
    over: tuple[str, ...] = ()
    interpolation: Interpolation = "linear"

    def __post_init__(self) -> None:
        if self.interpolation not in KINDS:
            known = " or ".join(map(repr, KINDS))
            raise InputError(f"interpolation is {self.interpolation!r}, expected {known}")
        if isinstance(self.over, str) or self.over not in ((), (TIME,)):
            raise InputError(f"an input is over {self.over!r}, expected () or ('time',)")


def is_base(name: str, inputs: Container[str]) -> bool:
    """Whether an input holds the times of another one; ``t_out`` alone is a temperature.

    >>> is_base("t_drive", {"drive", "t_drive"}), is_base("t_out", {"t_out"})
    (True, False)
    """
    return name.startswith(BASE) and name[len(BASE) :] in inputs


def is_own(name: str, declared: Input, array: np.ndarray, observations: int) -> bool:
    """Whether an array is one for each observation, told by its number of axes.

    Args:
        name: of the input, for errors.
        declared: what it should be.
        array: (*over), or (observation, *over).
        observations: how many there are.

    Raises:
        InputError: it has another number of axes, or another number of observations.

    """
    rank = len(declared.over)
    if array.ndim == rank:
        return False
    if array.ndim == rank + 1 and len(array) == observations:
        return True
    one, all_ = _axes(declared.over), _axes(("observation", *declared.over))
    raise InputError(
        f"input {name!r} has shape {array.shape}, expected {one} or {all_} of {observations} "
        "observations"
    )


def _axes(names: tuple[str, ...]) -> str:
    return f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})"


def check_inputs(
    inputs: Mapping[str, np.ndarray], own: frozenset[str], times: np.ndarray | None, n: int
) -> None:
    """Refuse inputs that are none of ``n`` observations at ``times``.

    Args:
        inputs: shared ones (*over), and those of ``own`` (observation, *over).
        own: names of those that are one for each observation.
        times: (time,) or (observation, time), s, padded with NaN; None where there are none.
        n: number of observations.

    Raises:
        InputError: an unknown name, another number of observations, a value that is not finite, or
            a signal that ends before the data do.

    """
    unknown = sorted(own - set(inputs))
    if unknown:
        raise InputError(f"own names {unknown[0]!r}, expected names of inputs: {sorted(inputs)}")
    for name, values in inputs.items():
        if name in own and (values.ndim == 0 or len(values) != n):
            raise InputError(
                f"input {name!r} has shape {values.shape}, expected one for each of {n} "
                "observations"
            )
        known = inputs.get(BASE + name)
        base = times if known is None else known
        over = values.ndim - (name in own)
        if over == 1 and is_base(name, inputs):
            _check_base(name, values, times)
        elif over == 1 and base is not None:
            _check_signal(name, values, base)
        else:
            _refuse_gaps(name, values, np.ones(values.shape, dtype=bool), name in own)


def _check_signal(name: str, values: np.ndarray, base: np.ndarray) -> None:
    """A signal has a value at each of its times."""
    if values.shape[-1] != base.shape[-1]:
        raise InputError(
            f"input {name!r} has {values.shape[-1]} samples, expected {base.shape[-1]}, one for "
            "each of its times; one for each observation is named in 'own'"
        )
    need = ~np.isnan(base)
    if values.ndim == 1 and need.ndim == 2:
        need = need.any(axis=0)
    _refuse_gaps(name, values, np.broadcast_to(need, values.shape), values.ndim == 2)


def _check_base(name: str, base: np.ndarray, times: np.ndarray | None) -> None:
    """The times of a signal increase, and last as long as those of the data."""
    rows = np.atleast_2d(base)
    there = within(rows)
    if (np.isnan(rows) & there).any() or not there[:, 0].all() or np.isinf(rows).any():
        raise InputError(f"{name!r} is not finite, expected times in s, NaN only at the end")
    if not ((np.diff(rows) > 0) | ~there[:, 1:]).all():
        raise InputError(f"{name!r} is not strictly increasing, expected increasing times in s")
    if times is None:
        return
    first, last = np.nanmin(rows, axis=1), np.nanmax(rows, axis=1)
    own = np.atleast_2d(times)
    start, end = np.nanmin(own, axis=1), np.nanmax(own, axis=1)
    slack = SLACK * (end - start)
    early, late = first > start + slack, last < end - slack
    if early.any():
        row = int(early.argmax())
        starts = np.broadcast_to(first, early.shape)[row]
        raise InputError(
            f"input {name[len(BASE) :]!r} starts at {starts:g} s, after observation {row} does"
        )
    if late.any():
        row = int(late.argmax())
        ends = np.broadcast_to(last, late.shape)[row]
        until = np.broadcast_to(end, late.shape)[row]
        raise InputError(
            f"input {name[len(BASE) :]!r} ends at {ends:g} s, before observation {row} does at "
            f"{until:g} s; where its last value holds on, say it once more at the end"
        )


def _refuse_gaps(name: str, values: np.ndarray, need: np.ndarray, own: bool) -> None:
    wrong = np.isinf(values) | (np.isnan(values) & need)
    if not wrong.any():
        return
    where = ""
    if own:
        row = int(wrong.reshape(len(wrong), -1).any(axis=1).argmax())
        where = f" in observation {row}"
    raise InputError(f"input {name!r} is not finite{where}, expected a number wherever data are")
