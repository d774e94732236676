"""The five answers that a report opens with, and the table by which they follow from its checks.

A question rests on *grounds*: checks, each with the worst grade that it alone can bring about.
``always`` counts in any case. ``direct`` are checks against truth: where the data carry some, they
stand in the place of ``indirect`` ones, which judge by the data alone. The answer is as good as the
worst ground, and the first such is its reason: a stand-in for measured data before all others. A
ground that could not run weakens the answer as far as it says itself, or is named in the sentence.
What no data can show, and the use depends on, stands behind the reason (``Verdict.provided``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from groundvae.diagnostics.latents import is_auxiliary
from groundvae.diagnostics.verdict import Level, Verdict

ORDER: tuple[Level, ...] = ("bad", "not enough data", "doubtful", "good")
"""From the worst to the best, as reasons go."""


@dataclass(frozen=True)
class Ground:
    """A check on which an answer rests.

    Attributes:
        check: its name.
        worst: the grade that it can bring about at most.
        without: the grade where it could not run; None where that is only said.

    """

    check: str
    worst: Level = "bad"
    without: Level | None = None


@dataclass(frozen=True)
class Question:
    """What a user asks, and what the answer rests on."""

    subject: str
    always: tuple[Ground, ...]
    direct: tuple[Ground, ...] = ()
    indirect: tuple[Ground, ...] = ()


FIRST = Ground("standin")
SOUND = (Ground("outofdistribution"), Ground("observations", "doubtful"))
LEARNED = (Ground("contraction", without="not enough data"),)
MODEL = (Ground("discrepancy", without="doubtful"), Ground("against"))
TOLD = Ground("discovery", "doubtful")
LEANING = Ground("leaning", "doubtful")
CORRELATED = Ground("correlatedeffects", "doubtful")
GUIDE = (Ground("calibration"), Ground("guide_vs_nuts"))

QUESTIONS: Mapping[str, Question] = {
    "estimates": Question(
        "the estimates",
        (*LEARNED, *SOUND),
        (Ground("recovery"), Ground("zscore", "doubtful")),
        (
            Ground("precision", without="doubtful"),
            Ground("against", "doubtful"),
            TOLD,
            LEANING,
            CORRELATED,
            Ground("reconstruction"),
        ),
    ),
    "intervals": Question(
        "the intervals",
        (Ground("outofdistribution"),),
        (Ground("coverage"), Ground("rank"), Ground("zscore")),
        (*MODEL, *GUIDE, Ground("leaning"), CORRELATED, Ground("discovery", "good")),
    ),
    "inside": Question(
        "the predictions inside the window",
        (
            Ground("predictive", without="not enough data"),
            Ground("loo_pit"),
            Ground("pvalue"),
            Ground("observations"),
            Ground("reconstruction", "doubtful"),
            Ground("outofdistribution"),
        ),
    ),
    "beyond": Question(
        "the predictions beyond the window",
        (Ground("forecast", without="not enough data"), Ground("energy", "doubtful"), *SOUND),
    ),
    "counterfactuals": Question(
        "the counterfactuals",
        (Ground("independence"), Ground("decomposition"), *LEARNED, *SOUND),
        (Ground("coverage"), Ground("recovery"), Ground("zscore")),
        (
            *MODEL,
            *GUIDE,
            Ground("precision"),
            TOLD,
            LEANING,
            CORRELATED,
            Ground("forecast", "doubtful"),
        ),
    ),
}
"""By name, in the order of a report."""

USABLE: tuple[Level, ...] = ("good", "doubtful")
"""Grades with which it is said what a use depends on."""

OPENINGS: Mapping[Level, str] = {
    "good": "Use {subject}",
    "doubtful": "Use {subject} with care",
    "bad": "Do not use {subject}",
    "not enough data": "Nothing can be said of {subject}",
}


@dataclass(frozen=True)
class Answer:
    """Whether one thing may be used.

    Attributes:
        question: its name: ``estimates``, ``intervals``, ``inside``, ``beyond``,
            ``counterfactuals``.
        level: the grade.
        sentence: the answer, with the one reason that decides it.
        check: which check that is.
        missing: checks that could not run and would have counted.

    """

    question: str
    level: Level
    sentence: str
    check: str
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.level}: {self.sentence}"


def answer(verdicts: Sequence[Verdict], left_out: Mapping[str, str]) -> dict[str, Answer]:
    """The five answers by name; ``left_out``: titles of the checks that could not run.

    >>> said = answer([Verdict("x", "bad", "Bands are off.", 1.0, 0.1, 9, "predictive")], {})
    >>> print(said["inside"])
    bad: Do not use the predictions inside the window. Bands are off.
    >>> said["beyond"].level
    'not enough data'
    """
    return {name: _answer(name, q, verdicts, left_out) for name, q in QUESTIONS.items()}


def _answer(
    name: str, question: Question, verdicts: Sequence[Verdict], left_out: Mapping[str, str]
) -> Answer:
    judged = {check: list(found) for check, found in _by_check(verdicts)}
    direct = any(ground.check in judged for ground in question.direct)
    grounds = (FIRST, *(question.direct if direct else question.indirect), *question.always)
    missing = [g for g in grounds if g.check not in judged and (g.without or g.check in left_out)]
    found = [
        (_capped(g, verdict), _reason(verdict), g.check)
        for g in grounds
        for verdict in judged.get(g.check, [])
    ]
    found += [
        (g.without, f"{left_out.get(g.check, g.check)} could not be tested.", g.check)
        for g in missing
        if g.without
    ]
    if not found:
        found = [("not enough data", "No check of it could run.", "")]
    level, reason, check = min(found, key=lambda one: ORDER.index(one[0]))
    names = tuple(g.check for g in missing)
    others = [left_out.get(c, c).lower() for c in names if c != check]
    if level == "good" and others:
        reason += f" Not tested: {', '.join(others)}."
    if level in USABLE:
        told = [v.provided for g in grounds for v in judged.get(g.check, []) if v.provided]
        reason = " ".join([reason, *dict.fromkeys(told)])
    sentence = f"{OPENINGS[level].format(subject=question.subject)}. {reason}"
    return Answer(name, level, sentence, check, names)


def _by_check(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, Iterator[Verdict]]]:
    """What each check says of the physics, or of the whole; parts of ``z_aux`` mean nothing."""
    told = [v for v in verdicts if v.level != "not enough data"]
    told = [v for v in told if not any(is_auxiliary(word) for word in v.name.split())]
    yield from groupby(sorted(told, key=_check), _check)


def _reason(verdict: Verdict) -> str:
    """What it means; of which part, where the sentence does not say (``ranks of omega``)."""
    name, meaning = verdict.name, verdict.meaning
    of_part = " of " in name or ":" in name
    if verdict.level == "good" or not of_part or name.split()[-1] in meaning:
        return meaning
    return f"{name[:1].upper()}{name[1:]}: {meaning[:1].lower()}{meaning[1:]}"


def _check(verdict: Verdict) -> str:
    return verdict.check


def _capped(ground: Ground, verdict: Verdict) -> Level:
    return max(verdict.level, ground.worst, key=ORDER.index)
