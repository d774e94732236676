"""Diagnose one run on one data set: metrics.json, verdicts.json, figures, report.html."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import arviz as az

from groundvae.data.atomic import replacing
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.finding import Drawing, Finding, LeftOutError, NotAskedError
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.diagnostics.report import Panel, write_report
from groundvae.diagnostics.sections import SECTIONS
from groundvae.diagnostics.style import save_figure
from groundvae.diagnostics.verdict import Verdict
from groundvae.inference.run import Run

FEW = (ArithmeticError, ValueError, LookupError, RuntimeError)
"""What degenerate data can raise inside a section; the report then says so."""


@dataclass
class Diagnosis:
    """All that the sections found."""

    metrics: dict[str, float]
    verdicts: list[Verdict] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, finding: Finding, folder: Path) -> None:
        self.verdicts += finding.verdicts
        self.notes += finding.notes
        self.metrics |= finding.metrics
        self.panels += [_saved(drawing, folder) for drawing in finding.drawings]


def diagnose(
    run: Run,
    inference_data: az.InferenceData,
    folder: Path,
    reference: az.InferenceData | None = None,
) -> dict[str, float]:
    """Write everything into ``folder`` and return the metrics.

    A section that does not apply to the run or the data is left out, and the report says why.
    ``reference``: a posterior by MCMC of some of the observations, to compare the guide with.
    """
    context = Context(run, inference_data, reference)
    diagnosis = examine(context, folder)
    metrics = _finite(diagnosis)
    _write_json(folder / "metrics.json", metrics)
    _write_json(folder / "verdicts.json", [_plain(v) for v in diagnosis.verdicts])
    write_report(
        folder / "report.html",
        title=f"{run.config.system}: {run.config.variant}, {run.config.guide}",
        facts=_facts(run, inference_data),
        metrics=metrics,
        meanings=_meanings(run),
        panels=diagnosis.panels,
        notes=diagnosis.notes,
        verdicts=diagnosis.verdicts,
    )
    return metrics


def examine(context: Context, folder: Path) -> Diagnosis:
    """Run every section; figures go to ``folder`` at once."""
    diagnosis = Diagnosis({})
    try:
        diagnosis.metrics |= compute_metrics(context.inference_data, context.periods)
    except FEW as error:
        diagnosis.notes.append(f"Metrics: could not be computed ({_sentence(error)}).")
    for title, section in SECTIONS.items():
        try:
            diagnosis.add(section(context), folder)
        except NotAskedError:
            continue
        except LeftOutError as reason:
            diagnosis.notes.append(f"{title}: {reason}.")
        except FEW as error:
            diagnosis.notes.append(f"{title}: could not be computed ({_sentence(error)}).")
    return diagnosis


def _sentence(error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return f"{type(error).__name__}: {first}"


def read_verdicts(folder: Path) -> list[Verdict]:
    """The verdicts that ``diagnose`` wrote."""
    rows = json.loads((folder / "verdicts.json").read_text())
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
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def _facts(run: Run, inference_data: az.InferenceData) -> dict[str, str]:
    config, fit = run.config, run.fit
    observations = inference_data["observed_data"].sizes["observation"]
    facts = {
        "System": run.entry.summary,
        "Variant, guide, loss": f"{config.variant}, {config.guide}, {config.loss}",
        "Trained on": config.trained_on,
        "Diagnosed on": f"{observations} observations",
        "Fit": f"{fit.steps} steps in {fit.seconds:.0f} s, {fit.stop}",
        "Noise scale": f"{float(run.model.noise.scale.detach().mean()):.3g} {run.entry.unit}",
    }
    return facts | {f"Prior of {k}": v for k, v in config.priors.items()}


def _meanings(run: Run) -> Mapping[str, str]:
    unit = run.entry.unit
    meanings = GENERAL | {
        "reconstruction_sse": f"squared error of the mean prediction, summed over samples, {unit}²",
        "reconstruction_mae": f"mean absolute error of a sample, {unit}",
    }
    for latent in run.model.latents:
        for suffix, meaning in OF_LATENT.items():
            meanings[f"{latent.name}_{suffix}"] = meaning.format(unit=latent.unit or "no unit")
    return meanings


GENERAL = {
    "elbo": "evidence lower bound, nats an observation; higher is better",
    "iwae": "importance-weighted bound of log p(x), nats an observation; higher is better",
    "bound_gap": "IWAE less ELBO, nats, median",
    "khat_median": "Pareto k-hat of the importance weights, median; below 0.5 is good",
    "khat_above": "share of observations with k-hat above its limit",
    "effective_share": "share of the draws that are effective after weighting, median",
    "predictive_cov90": "share of samples inside the 90 % band; 0.90 if calibrated",
    "predictive_deviation": "largest departure of the bands' coverage from their level",
    "extreme_misfit": "share of observations with an extreme misfit; 0.05 expected",
    "extreme_structure": "share of observations with extreme structure in errors; 0.05 expected",
    "loo_pit_deviation": "largest departure of LOO-PIT from uniform",
    "elpd_loo_sample": "log predictive density of a left-out sample, nats",
    "prior_outside": "share of samples outside the prior's 99 % band",
    "tarp_deviation": "largest departure of the joint posterior's expected coverage",
    "out_of_distribution": "share of unusual observations, beyond a threshold; 0.01 expected",
    "active_units": "latents whose posterior mean varies with the data",
    "share_physics": "share of the variance explained by physics alone",
    "share_dynamics": "share that the residual in the dynamics adds",
    "share_observation": "share that the residual on the observation adds",
    "share_residual": "share that the residual adds",
    "share_noise": "share left unexplained",
    "stand_in": "1: fitted to a simulated stand-in, NOT to measured data",
    "energy_drift": "largest relative change of H along an observation, mean",
}
OF_LATENT = {
    "mae": "mean absolute error of the posterior median, {unit}",
    "crps": "score of the whole posterior, {unit}; lower is better",
    "cov50": "share of truths inside the 50 % interval; 0.50 if calibrated",
    "cov90": "share of truths inside the 90 % interval; 0.90 if calibrated",
    "correlation": "of the posterior median with the truth",
    "coverage_deviation": "largest departure of coverage from its level",
    "rank_deviation": "largest departure of the truth's ranks from uniform",
    "bias_sd": "mean z-score, posterior standard deviations; 0 if unbiased",
    "zscore_rms": "size of the z-scores; 1 if calibrated",
    "contraction": "1 - posterior / prior variance, median; 1 is certain",
    "kl": "from posterior to prior, nats, median",
    "sbc_deviation": "largest departure of ranks on the model's own simulations",
    "nuts_sd_ratio": "guide's standard deviation over that of MCMC, median",
    "nuts_shift": "guide's mean less that of MCMC, in its standard deviations, median size",
    "nuts_wasserstein": "distance from MCMC, in its standard deviations, median",
    "residual_off_shift": "how far it moves without the residual, median, {unit}",
    "residual_off_sd": "the same, in posterior standard deviations",
    "prior_sensitivity": "power-scaling of the priors, median; above 0.05 is felt",
    "likelihood_sensitivity": "power-scaling of the likelihood, median",
}
