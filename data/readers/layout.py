"""Where each row of a long table goes: observation, place in time, channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from groundvae.data.errors import InputError
from groundvae.data.input import TIME, Input
from groundvae.data.readers.table import Table
from groundvae.data.readers.wanted import Roles, Wanted, stepped
from groundvae.data.times import shared_grid, stacked

ONE_OR_SIGNAL = 'one number, or gv.Input(over=("time",)) in the law for what changes with time'


@dataclass(frozen=True)
class Layout:
    """Where each row of a table goes: observation, place in time, channel, each (row,)."""

    table: Table
    times: np.ndarray
    row: np.ndarray
    step: np.ndarray
    channel: np.ndarray
    names: tuple[str, ...]
    channels: tuple[str, ...]
    count: int

    @staticmethod
    def of(table: Table, roles: Roles, wanted: Wanted) -> Layout:
        """The layout that the columns of observations, times and channels give."""
        zero = np.zeros(len(table), dtype=int)
        names: tuple[str, ...] = ()
        channels: tuple[str, ...] = ()
        row, channel = zero, zero
        if roles.observation is not None:
            names, row = _codes(table.texts(roles.observation))
        if roles.channel is not None:
            channels, channel = _codes(table.texts(roles.channel))
        channels = channels if len(channels) > 1 else ()  # a single one is no axis
        count = max(len(names), 1)
        series = row * max(len(channels), 1) + channel
        time = _times(table, roles, wanted, series)
        _refuse_falling(table, time, series, names)
        grids = [np.unique(time[rows]) for rows in _rows_of(row, count)]
        shared = shared_grid(grids)
        if shared is not None:
            step = np.searchsorted(shared, time)
            return Layout(table, shared, row, step, channel, names, channels, count)
        step = np.empty(len(table), dtype=int)
        for grid, rows in zip(grids, _rows_of(row, count), strict=True):
            step[rows] = np.searchsorted(grid, time[rows])
        return Layout(table, stacked(grids), row, step, channel, names, channels, count)

    def place(self, values: np.ndarray) -> np.ndarray:
        """Values (row,) as (observation, time) or (observation, time, channel), else NaN."""
        steps, channels = self.times.shape[-1], max(len(self.channels), 1)
        whole = np.full((self.count, steps, channels), np.nan)
        whole[self.row, self.step, self.channel] = values
        return whole if self.channels else whole[..., 0]

    def name(self, observation: int) -> str:
        """What an observation is called, for an error."""
        return self.names[observation] if self.names else str(observation)

    def constant(self, name: str, values: np.ndarray, expected: str = "one number") -> np.ndarray:
        """One number for each observation, (observation,), of a column (row,).

        Raises:
            InputError: it changes within an observation, or is nowhere.

        """
        low, high = self._extremes(values)
        changes = high > low
        if changes.any():
            where = self.name(int(changes.argmax()))
            raise InputError(
                f"{self.table.source}: {name} changes within observation {where}, expected "
                f"{expected}"
            )
        gone = np.isinf(low)
        if gone.any():
            where = self.name(int(gone.argmax()))
            raise InputError(f"{self.table.source}: {name} is missing in observation {where}")
        return low

    def name_of_each(self, texts: list[str], column: str) -> tuple[str, ...]:
        """One name for each observation, of a column (row,) of texts.

        Raises:
            InputError: it changes within an observation.

        """
        found: dict[int, str] = {}
        for row, text in zip(self.row.tolist(), texts, strict=True):
            if found.setdefault(row, text) != text:
                raise InputError(
                    f"{self.table.source}: {column} changes within observation {self.name(row)}, "
                    "expected one name"
                )
        return tuple(found[row] for row in range(self.count))

    def _extremes(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.full(self.count, np.inf), np.full(self.count, -np.inf)
        there = ~np.isnan(values)
        np.minimum.at(low, self.row[there], values[there])
        np.maximum.at(high, self.row[there], values[there])
        return low, high

    def known(self, name: str, wanted: Wanted) -> np.ndarray | None:
        """An input, (observation,) or (observation, time); None: unnamed, and not usable."""
        asked = wanted.inputs is not None
        if not asked and self.table.is_text(name):
            return None
        values, declared = self.table.numbers(name), wanted.declared(name)
        low, high = self._extremes(values)
        if not asked and np.isinf(low).any():
            return None
        if declared is None:
            declared = Input(over=(TIME,) if (high > low).any() else ())
        if not declared.over:
            return self.constant(name, values, ONE_OR_SIGNAL)
        return self._signal(name, values, asked=asked)

    def clocked(self, name: str, base: str) -> tuple[np.ndarray, np.ndarray]:
        """A signal and its own times, of columns ``name`` and ``base``, (observation, sample) each.

        Which rows of an observation they stand in does not matter; NaN behind the last sample.

        Raises:
            InputError: one of the two stands alone, or times do not increase.

        """
        values, times = self.table.numbers(name), self.table.numbers(base)
        alone = np.isnan(values) != np.isnan(times)
        if alone.any():
            row = int(alone.argmax())
            gone, there = (name, base) if np.isnan(values[row]) else (base, name)
            raise InputError(
                f"{self.table.place(row)}: {gone} is missing beside {there}, expected both or none"
            )
        rows = np.flatnonzero(~np.isnan(times))
        each = [rows[part] for part in _rows_of(self.row[rows], self.count)]
        for some in each:
            wrong = np.flatnonzero(np.diff(times[some]) <= 0)
            if len(wrong):
                row = int(some[1 + wrong[0]])
                place = self.table.place(row)
                raise InputError(f"{place}: {base} is {times[row]:g}, expected increasing times")
        return stacked([values[some] for some in each]), stacked([times[some] for some in each])

    def _signal(self, name: str, values: np.ndarray, *, asked: bool) -> np.ndarray | None:
        """An input over time, (observation, time), from the rows of any channel."""
        whole = np.full((self.count, self.times.shape[-1]), np.nan)
        there = np.flatnonzero(~np.isnan(values))
        whole[self.row[there], self.step[there]] = values[there]
        other = whole[self.row[there], self.step[there]] != values[there]
        need = np.broadcast_to(~np.isnan(self.times), whole.shape)
        gaps = np.isnan(whole) & need
        if not asked and (gaps.any() or other.any()):
            return None
        if other.any():
            place = self.table.place(int(there[other.argmax()]))
            raise InputError(f"{place}: {name} differs between channels, expected one value a time")
        if gaps.any():
            where = int(gaps.any(axis=1).argmax())
            when = np.broadcast_to(self.times, whole.shape)[where][gaps[where]][0]
            raise InputError(
                f"{self.table.source}: input {name} is missing in observation {self.name(where)} "
                f"at time {when:g}, expected a number wherever data are"
            )
        return whole


def _codes(texts: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Different texts in the order in which they come, and which of them each is."""
    codes = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return tuple(codes), np.array([codes[text] for text in texts])


def _rows_of(code: np.ndarray, count: int) -> list[np.ndarray]:
    """Rows of each code, in their order."""
    order = np.argsort(code, kind="stable")
    return np.split(order, np.searchsorted(code[order], np.arange(1, count)))


def _times(table: Table, roles: Roles, wanted: Wanted, series: np.ndarray) -> np.ndarray:
    """The time of each row, (row,), s."""
    if roles.time is not None:
        time = table.numbers(roles.time)
        if np.isnan(time).any():
            row = int(np.isnan(time).argmax())
            raise InputError(f"{table.place(row)}: {roles.time} is missing, expected a time")
        return time
    assert wanted.t is not None
    assert not isinstance(wanted.t, str)
    time = np.empty(len(table))
    for rows in _rows_of(series, int(series.max()) + 1):
        steps = stepped(wanted.t, len(rows), table.source)
        if len(steps) < len(rows):
            raise InputError(f"{table.source}: {len(steps)} times are given for {len(rows)} rows")
        time[rows] = steps[: len(rows)]
    return time


def _refuse_falling(
    table: Table, time: np.ndarray, series: np.ndarray, names: tuple[str, ...]
) -> None:
    """Refuse times that do not increase from row to row of an observation (and channel)."""
    order = np.argsort(series, kind="stable")
    same = np.diff(series[order]) == 0
    wrong = same & (np.diff(time[order]) <= 0)
    if not wrong.any():
        return
    rows = order[1:][wrong]
    row = int(rows.min())
    before = order[int(np.flatnonzero(order == row)[0]) - 1]
    twice = time[before] == time[row]
    what = "stands there twice" if twice else f"comes after {time[before]:g}"
    advice = " (of what was measured twice keep the mean)" if twice else ""
    if not names and not twice:
        advice = ", or a column that says which observation a row is of"
    channels = (int(series.max()) + 1) // max(len(names), 1) or 1
    where = f" of observation {names[int(series[row]) // channels]}" if names else ""
    raise InputError(
        f"{table.place(row)}: time {time[row]:g}{where} {what}, expected increasing times{advice}"
    )
