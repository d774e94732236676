"""Diagnose one run on one data set: metrics.json, verdicts.json, figures, report.html."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import arviz as az

from groundvae.data.atomic import replacing
from groundvae.diagnostics.check import Check, Drawing, Finding, LeftOutError
from groundvae.diagnostics.checks import checks_of_report
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.metrics import METRIC_WORDS, compute_metrics
from groundvae.diagnostics.report import Panel, write_report
from groundvae.diagnostics.style import save_figure
from groundvae.diagnostics.verdict import Verdict
from groundvae.inference.run import Run


@dataclass
class Diagnosis:
    """All that the checks found."""

    metrics: dict[str, float]
    verdicts: list[Verdict] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, finding: Finding, folder: Path) -> None:
        self.panels += [_saved(drawing, folder) for drawing in finding.drawings]
        self.verdicts += finding.verdicts
        self.metrics |= finding.metrics
        for note in finding.notes:
            self.note(note)

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
) -> dict[str, float]:
    """Write everything into ``folder`` and return the metrics.

    A check that does not apply to the run or the data is left out, and the report says why.

    Args:
        run: what is diagnosed.
        inference_data: its posterior of some observations, as ``posterior`` gives it.
        folder: where metrics, verdicts, figures and report go.
        reference: a posterior by MCMC of some of the observations, to compare the guide with.
        checks: of one's own, beside the registered ones; one of the same name replaces it.

    Raises:
        InputError: a check lacks words, or an installed package's cannot be loaded.

    """
    all_checks = checks_of_report(checks)
    context = Context(run, inference_data, reference)
    diagnosis = examine(context, folder, all_checks)
    metrics = _finite(diagnosis)
    _write_json(folder / "metrics.json", metrics)
    _write_json(folder / "verdicts.json", [_plain(v) for v in diagnosis.verdicts])
    write_report(
        folder / "report.html",
        title=context.title,
        facts=context.facts,
        metrics=metrics,
        meanings=_meanings(all_checks, context),
        panels=diagnosis.panels,
        notes=diagnosis.notes,
        verdicts=diagnosis.verdicts,
    )
    return metrics


def examine(context: Context, folder: Path, checks: Iterable[Check]) -> Diagnosis:
    """Run the checks; figures go to ``folder`` at once. A check that fails is noted."""
    diagnosis = Diagnosis({})
    try:
        diagnosis.metrics |= compute_metrics(context.inference_data, context.periods)
    except Exception as error:
        diagnosis.notes.append(f"Metrics: could not be computed ({_sentence(error)}).")
    for check in checks:
        try:
            diagnosis.add(check(context), folder)
        except LeftOutError as reason:
            diagnosis.note(f"{check.title}: {reason}." if str(reason) else "")
        except Exception as error:  # the others are still worth their report
            diagnosis.note(f"{check.title}: could not be computed ({_sentence(error)}).")
    return diagnosis


def _sentence(error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return f"{type(error).__name__}: {first}"


def read_verdicts(folder: Path) -> list[Verdict]:
    """The verdicts that ``diagnose`` wrote."""
    rows = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
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
    meanings = {}
    for words in (METRIC_WORDS, *(check.metric_words for check in checks)):
        for name, meaning in words.items():
            each = context.units if "{latent}" in name else {"": context.unit}
            for latent, unit in each.items():
                named = unit or ("no unit" if latent else "")
                meanings[name.format(latent=latent)] = meaning.format(unit=named)
    return meanings
