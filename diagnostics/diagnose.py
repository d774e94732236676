"""Diagnose one run on one data set: answers, verdicts, metrics, observations, figures, a page."""

from __future__ import annotations

import inspect
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path

import pandas as pd

from groundvae.data.atomic import replacing
from groundvae.diagnostics import fitted
from groundvae.diagnostics.answers import Answer, answer
from groundvae.diagnostics.check import Check, Drawing, Finding, LeftOutError
from groundvae.diagnostics.checks import checks_of_report
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.metrics import METRIC_WORDS, compute_metrics
from groundvae.diagnostics.observations import as_table, observe
from groundvae.diagnostics.report import Page, Panel, write_report
from groundvae.diagnostics.style import save_figure
from groundvae.diagnostics.verdict import Verdict
from groundvae.inference import arviz as az
from groundvae.inference.inferencedata import mark
from groundvae.inference.run import Run

ANSWER = "answer_"
"""Begins the names of the answers in ``metrics.json``."""


@dataclass
class Diagnosis:
    """All that was found.

    Attributes:
        metrics: numbers by name.
        answers: the five answers by name.
        verdicts: of every check.
        observations: one row each, the worst first.
        panels: figures on disk.
        notes: what was left out and why.
        left_out: titles of the checks that could not run, by name.

    """

    metrics: dict[str, float]
    answers: dict[str, Answer] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)
    observations: pd.DataFrame = field(default_factory=pd.DataFrame)
    panels: list[Panel] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(a.level)}</td><td>{escape(a.sentence)}</td></tr>"
            for a in self.answers.values()
        )
        return f"<table>{rows}</table>"

    def add(self, finding: Finding, check: Check, folder: Path) -> None:
        self.panels += [_saved(drawing, folder) for drawing in finding.drawings]
        self.verdicts += finding.verdicts
        self.metrics |= finding.metrics
        if all(v.level == "not enough data" for v in finding.verdicts):
            self.left_out[check.name] = check.title
        for note in finding.notes:
            self.note(note)

    def leave_out(self, check: Check, why: str) -> None:
        """A check could not run; one without a reason does not apply at all."""
        if why:
            self.left_out[check.name] = check.title
            self.note(f"{check.title}: {why}.")

    def note(self, text: str) -> None:
        """Say something once; checks of one kind say the same."""
        if text and text not in self.notes:
            self.notes.append(text)


def diagnose(
    run: Run,
    inference_data: az.InferenceData,
    folder: Path,
    reference: az.InferenceData | None = None,
    checks: Iterable[Check] = (),
    *,
    against: Run | None = None,
    show: Sequence[int] = (),
) -> Diagnosis:
    """Write everything into ``folder``, and what is known of each observation into the draws.

    A check that does not apply to the run or the data is left out, and the report says why.

    Args:
        run: what is diagnosed.
        inference_data: its posterior of some observations, as ``posterior`` gives it; verdict,
            k-hat, misfit and what else is known of each join its ``constant_data``.
        folder: where metrics, verdicts, observations, figures and report go.
        reference: a posterior by MCMC of some of the observations, to compare the guide with.
        checks: of one's own, beside the registered ones; one of the same name replaces it.
        against: another run of the same physics, to compare with.
        show: positions of observations to draw and to tell about.

    Raises:
        InputError: a check lacks words, or an installed package's cannot be loaded.

    """
    all_checks = checks_of_report(checks)
    context = Context(run, inference_data, reference, against=against, show=tuple(show))
    found = examine(context, folder, all_checks)
    found.metrics = _finite(found)
    found.answers = answer(found.verdicts, found.left_out)
    tables = _tables(context, found)
    metrics = found.metrics | {f"{ANSWER}{k}": v.level for k, v in found.answers.items()}
    _write_json(folder / "metrics.json", metrics)
    answers = [asdict(v) for v in found.answers.values()]
    verdicts = [_plain(v) for v in found.verdicts]
    _write_json(folder / "verdicts.json", {"answers": answers, "verdicts": verdicts})
    with replacing(folder / "observations.csv") as temporary:
        found.observations.to_csv(temporary)
    page = Page(
        title=context.title,
        answers=list(found.answers.values()),
        verdicts=found.verdicts,
        notes=found.notes,
        panels=found.panels,
        metrics=found.metrics,
        meanings=_meanings(all_checks, context),
        titles={c.name: c.title for c in all_checks},
        paragraphs={c.name: _paragraph(c) for c in all_checks},
        tables=tables,
        observations=found.observations,
    )
    write_report(folder / "report.html", page)
    return found


def _tables(context: Context, found: Diagnosis) -> dict[str, pd.DataFrame]:
    """The tables of the page; what is known of each observation is stored on the way."""
    tables: dict[str, pd.DataFrame] = {}
    try:
        observed = context.once(observe)
        mark(context.inference_data, observed)
        found.observations = as_table(observed, fitted.estimates(context))
        tables["Where it fails: fifths of the observations"] = fitted.groups(context, observed)
        tables["Physics latents over the population"] = fitted.population(context)
    except Exception as error:  # the rest is still worth its report
        found.note(f"Observations: could not be computed ({_sentence(error)}).")
    tables["What was fitted"] = fitted.facts(context)
    return tables


def _paragraph(check: Check) -> str:
    """How to read a check: what its module says of it."""
    module = sys.modules.get(type(check).__module__)
    return " ".join((inspect.getdoc(module) or inspect.getdoc(type(check)) or "").split())


def examine(context: Context, folder: Path, checks: Iterable[Check]) -> Diagnosis:
    """Run the checks; figures go to ``folder`` at once. A check that fails is noted."""
    diagnosis = Diagnosis({})
    try:
        diagnosis.metrics |= compute_metrics(context.inference_data, context.periods)
    except Exception as error:
        diagnosis.notes.append(f"Metrics: could not be computed ({_sentence(error)}).")
    for check in checks:
        try:
            diagnosis.add(check(context), check, folder)
        except LeftOutError as reason:
            diagnosis.leave_out(check, str(reason))
        except Exception as error:  # the others are still worth their report
            diagnosis.leave_out(check, f"could not be computed ({_sentence(error)})")
    return diagnosis


def _sentence(error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return f"{type(error).__name__}: {first}"


def read_verdicts(folder: Path) -> list[Verdict]:
    """The verdicts that ``diagnose`` wrote."""
    rows = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))["verdicts"]
    missing = {"value": math.nan, "threshold": math.nan}
    return [Verdict(**(row | {k: v for k, v in missing.items() if row[k] is None})) for row in rows]


def _saved(drawing: Drawing, folder: Path) -> Panel:
    path = folder / f"{drawing.name}.png"
    save_figure(drawing.figure, path)
    return Panel(path, drawing.alternative, drawing.caption)


def _finite(diagnosis: Diagnosis) -> dict[str, float]:
    """JSON has no NaN and no infinity: such metrics are left out, and the report says so."""
    gone = [name for name, value in diagnosis.metrics.items() if not math.isfinite(value)]
    if gone:
        diagnosis.notes.append(f"Metrics: {', '.join(gone)} cannot be computed from these data.")
    return {k: v for k, v in diagnosis.metrics.items() if k not in gone}


def _plain(verdict: Verdict) -> dict[str, str | float | None]:
    values = asdict(verdict)
    unset = [k for k in ("value", "threshold") if not math.isfinite(values[k])]
    return values | dict.fromkeys(unset)


def _write_json(path: Path, value: object) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _meanings(checks: Iterable[Check], context: Context) -> dict[str, str]:
    """What each metric means, physics latents and units filled in."""
    meanings, unit_of_data = {}, context.unit or "the unit of the data"
    for words in (METRIC_WORDS, *(check.metric_words for check in checks)):
        for name, meaning in words.items():
            each = context.units if "{latent}" in name else {"": unit_of_data}
            for latent, unit in each.items():
                named = unit or ("no unit" if latent else "")
                meanings[name.format(latent=latent)] = meaning.format(unit=named)
    return meanings
