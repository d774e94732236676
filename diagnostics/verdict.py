"""The Verdict: what one check found, and what it means for the user; and how it comes about."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import xarray as xr

from groundvae.diagnostics.latents import physics_parts

Level = Literal["good", "doubtful", "bad", "not enough data"]
LEVELS: tuple[Level, ...] = ("good", "doubtful", "bad", "not enough data")

FEWEST = 20
"""Observations below which no check of a share or a mean gives a verdict."""


@dataclass(frozen=True)
class Verdict:
    """One check's answer.

    ``meaning`` is one sentence: what it means for the user and what to do next. ``value`` is
    the number, ``threshold`` the one that a good result keeps to, from above where it is
    ``at_least`` that, ``observations`` how many the number rests on, ``check`` the name of the
    check that gave it. ``provided`` is a sentence: on what, that no data can show, any use of it
    depends.
    """

    name: str
    level: Level
    meaning: str
    value: float
    threshold: float
    observations: int
    check: str = ""
    provided: str = ""
    at_least: bool = False


class Criterion:
    """When a number is good, and in which words: data, and functions of a result.

    Attributes:
        subject: name of the verdict; ``{of}`` stands for the part that is judged (a latent).
        good, doubtful: limits of the value; it is better smaller where ``good`` is the smaller.
        measured: the attribute that holds the value, or the variable whose median it is.
        fewest: observations below which there is no verdict.
        sentences: by level (``doubtful`` falls to ``bad``), or by what ``case`` says. In braces
            what ``words`` returns, or ``value``, or ``percent``, a hundred times as much, or an
            attribute of the result.

    >>> class Bias(Criterion):
    ...     subject, measured, good, doubtful = "bias", "off", 0.1, 0.5
    ...     sentences = {"good": "None.", "bad": "Off by {value:.1f}."}
    >>> found = Bias().verdicts(xr.Dataset({"off": ("observation", [0.3] * 20)}))[0]
    >>> found.level, found.meaning
    ('doubtful', 'Off by 0.3.')

    """

    subject: str
    good: float = math.nan
    doubtful: float = math.nan
    measured: str = ""
    fewest: int = FEWEST
    sentences: Mapping[str, str] = {}

    def verdicts(self, result: xr.Dataset) -> list[Verdict]:
        """One verdict for each part of the result."""
        return [self.judge(part, of) for of, part in self.parts(result)]

    def judge(self, part: xr.Dataset, of: str = "") -> Verdict:
        """The verdict on one part, or the refusal to give one."""
        name, n, limit = self.subject.format(of=of), self.observations(part), self.limit(part)
        refusal, at_least = self.refusal(part), self.good > self.doubtful
        if refusal:
            few: Level = "not enough data"
            return Verdict(name, few, refusal, math.nan, limit, n, at_least=at_least)
        value = self.value(part)
        level = self.level(part, value)
        case = self.case(part, level)
        own = {"value": value, "percent": 100 * value, "of": of}
        words = part.attrs | own | self.words(part)
        sentence = self.sentences.get(case) or self.sentences["bad"]
        meaning = sentence.format(**words)
        provided = self.provided(part)
        return Verdict(name, level, meaning, value, limit, n, provided=provided, at_least=at_least)

    def value(self, part: xr.Dataset) -> float:
        """The number that is judged."""
        attrs, key = part.attrs, self.measured
        return float(attrs[key] if key in attrs else part[key].median())

    def parts(self, result: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
        """What is judged by itself, with its name: each physics latent, or the whole."""
        if "latent" in result.dims:
            yield from physics_parts(result)
        else:
            yield str(result.attrs.get("latent", "")), result

    def observations(self, part: xr.Dataset) -> int:
        """How many observations the number rests on (an attribute, or all)."""
        attrs = part.attrs
        return int(attrs["observations"] if "observations" in attrs else part.sizes["observation"])

    def limit(self, part: xr.Dataset) -> float:
        """What a good value keeps to (an attribute, or ``good``)."""
        return float(part.attrs.get("limit", self.good))

    def refusal(self, part: xr.Dataset) -> str:
        """Why no verdict can be given; empty where one can."""
        n = self.observations(part)
        few = f"No verdict from {n} observations: diagnose on {self.fewest} or more."
        return few if n < self.fewest else ""

    def level(self, part: xr.Dataset, value: float) -> Level:
        """How good the value is."""
        return grade(value, self.good, self.doubtful)

    def case(self, part: xr.Dataset, level: Level) -> str:
        """Which of the sentences fits."""
        return level

    def provided(self, part: xr.Dataset) -> str:
        """On what a use depends that no data can show; empty where on nothing."""
        return ""

    def words(self, part: xr.Dataset) -> dict[str, object]:
        """What the sentences need beside the value."""
        return {}


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


def counted(verdicts: Sequence[Verdict]) -> dict[Level, int]:
    """How many verdicts there are of each level, all levels named."""
    return {level: sum(v.level == level for v in verdicts) for level in LEVELS}
