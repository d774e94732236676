"""What a reader is asked for: the names under which a source holds what a Dataset has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from groundvae.data.errors import InputError
from groundvae.data.input import Input

Times = str | float | np.ndarray
OBSERVATION, CHANNEL, GROUP = "observation", "channel", "group"
ERROR, CENSORED = "error", "censored"
TIMES = ("time", "t")
VALUES = ("value", "x")


@dataclass(frozen=True)
class Wanted:
    """Names of a source's columns, variables or arrays; () or None where none was given.

    Args:
        x: what is observed; several are channels.
        t: the times: a name, the step between samples (s), or the times themselves (time,), s.
        observation: says which observation a row, or an entry, belongs to.
        channel: says which channel a row belongs to.
        inputs: known inputs, with what they are where that is declared; None: all else.
        truth: true latents, one number for each observation.
        coordinates: which array labels which axis, such as ``{"t": "time"}``.
        time_unit: in which times are given, whose own unit a source states.

    """

    x: tuple[str, ...] = ()
    t: Times | None = None
    observation: str | None = None
    channel: str | None = None
    inputs: Mapping[str, Input | None] | None = None
    truth: tuple[str, ...] = ()
    coordinates: Mapping[str, str] = field(default_factory=lambda: {"t": "time"})
    time_unit: str = "s"

    def input_names(self, others: list[str]) -> list[str]:
        """Those asked for, or all others."""
        return others if self.inputs is None else list(self.inputs)

    def declared(self, name: str) -> Input | None:
        """What an input was declared to be, if it was."""
        return None if self.inputs is None else self.inputs.get(name)


@dataclass(frozen=True)
class Roles:
    """Which column of a long table is what; None where there is none."""

    x: tuple[str, ...]
    time: str | None
    observation: str | None
    channel: str | None

    @property
    def names(self) -> set[str]:
        """All of them."""
        return {*self.x, *(n for n in (self.time, self.observation, self.channel) if n)}


def first_of(names: tuple[str, ...], found: Mapping[str, object]) -> str | None:
    """The first of several usual names that is there."""
    return next((name for name in names if name in found), None)


def stepped(t: float | np.ndarray, samples: int, source: str) -> np.ndarray:
    """Times (time,), s, from the step between them or from themselves.

    Raises:
        InputError: a step that is not positive.

    """
    if isinstance(t, np.ndarray):
        return np.asarray(t, dtype=float)
    if not (np.isfinite(t) and t > 0):
        raise InputError(f"{source}: t is {t!r}, expected a name or a positive step in s")
    return float(t) * np.arange(samples)
