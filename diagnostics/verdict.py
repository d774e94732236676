"""The Verdict: what one check found, and what it means for the user."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["good", "doubtful", "bad", "not enough data"]
LEVELS: tuple[Level, ...] = ("good", "doubtful", "bad", "not enough data")

FEWEST = 20
"""Observations below which no check of a share or a mean gives a verdict."""


@dataclass(frozen=True)
class Verdict:
    """One check's answer.

    ``meaning`` is one sentence: what it means for the user and what to do next. ``value`` is
    the number, ``threshold`` the one that a good result keeps to, ``observations`` how many
    the number rests on.
    """

    name: str
    level: Level
    meaning: str
    value: float
    threshold: float
    observations: int


def grade(value: float, good: float, doubtful: float) -> Level:
    """The level of a value that is better the smaller it is (or the larger, by the limits).

    >>> grade(0.02, good=0.05, doubtful=0.25), grade(0.4, good=0.9, doubtful=0.5)
    ('good', 'bad')
    """
    sign = 1.0 if good <= doubtful else -1.0
    if not math.isfinite(value):
        return "bad"
    if sign * value <= sign * good:
        return "good"
    return "doubtful" if sign * value <= sign * doubtful else "bad"


def too_few(name: str, observations: int, needed: int, threshold: float = math.nan) -> Verdict:
    """The refusal to judge.

    >>> too_few("coverage of omega", 3, 50).level
    'not enough data'
    """
    meaning = f"No verdict from {observations} observations: diagnose on {needed} or more."
    return Verdict(name, "not enough data", meaning, math.nan, threshold, observations)


def counted(verdicts: Sequence[Verdict]) -> dict[Level, int]:
    """How many verdicts there are of each level, all levels named."""
    return {level: sum(v.level == level for v in verdicts) for level in LEVELS}


def worded(level: Level, **sentences: str) -> str:
    """The sentence for a level (``good=``, ``doubtful=``, ``bad=``; doubtful falls to bad)."""
    pick: Callable[[str], str | None] = sentences.get
    return pick(level) or pick("bad") or ""
