"""Diagnose one run on one data set: metrics.json, figures, report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import arviz as az

from groundvae.data.atomic import replacing
from groundvae.diagnostics.metrics import compute_metrics, known_latents
from groundvae.diagnostics.reconstruction import compute_reconstruction, plot_reconstruction
from groundvae.diagnostics.recovery import compute_recovery, plot_recovery
from groundvae.diagnostics.report import Panel, write_report
from groundvae.diagnostics.style import save_figure
from groundvae.inference.run import Run


def diagnose(run: Run, inference_data: az.InferenceData, folder: Path) -> dict[str, float]:
    """Write everything into ``folder`` and return the metrics."""
    metrics = compute_metrics(inference_data)
    with replacing(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
    panels = [_reconstruction(run, inference_data, folder)]
    panels += _recoveries(inference_data, folder)
    write_report(
        folder / "report.html",
        title=f"{run.config.system}: {run.config.variant}, {run.config.guide}",
        facts=_facts(run, inference_data),
        metrics=metrics,
        meanings=_meanings(run, metrics),
        panels=panels,
        notes=_notes(inference_data),
    )
    return metrics


def _reconstruction(run: Run, inference_data: az.InferenceData, folder: Path) -> Panel:
    path = folder / "reconstruction.png"
    entry = run.entry
    result = compute_reconstruction(inference_data)
    save_figure(plot_reconstruction(result, entry.quantity, entry.unit), path)
    return Panel(
        path,
        f"Observed {entry.quantity} over time for six observations with the full model's mean, "
        "its 90 % band and the prediction of physics alone.",
        "From the best to the worst reconstructed observation. Where physics alone is far from "
        "the data, the residual explains the difference; trust the physics latents less there.",
    )


def _recoveries(inference_data: az.InferenceData, folder: Path) -> list[Panel]:
    panels = []
    for name, draws, truth in known_latents(inference_data):
        path = folder / f"recovery_{name}.png"
        unit = str(inference_data["posterior"][name].attrs.get("units", ""))
        save_figure(plot_recovery(compute_recovery(draws, truth), name, unit), path)
        panels.append(
            Panel(
                path,
                f"Inferred {name} with 90 % intervals against its true value.",
                "Points on the line are right. If fewer than 90 % of the intervals reach the "
                "line, the posterior is overconfident.",
            )
        )
    return panels


def _facts(run: Run, inference_data: az.InferenceData) -> dict[str, str]:
    config, fit = run.config, run.fit
    observations = inference_data["observed_data"].sizes["observation"]
    facts = {
        "System": run.entry.summary,
        "Variant, guide, loss": f"{config.variant}, {config.guide}, {config.loss}",
        "Trained on": config.trained_on,
        "Diagnosed on": f"{observations} observations",
        "Fit": f"{fit.steps} steps in {fit.seconds:.0f} s, {fit.stop}",
        "Noise scale": f"{float(run.model.noise.scale.detach()):.3g} {run.entry.unit}",
    }
    return facts | {f"Prior of {k}": v for k, v in config.priors.items()}


def _meanings(run: Run, metrics: Mapping[str, float]) -> dict[str, str]:
    unit = run.entry.unit
    meanings = {
        "reconstruction_sse": f"squared error of the mean prediction, summed over samples, {unit}²",
        "reconstruction_mae": f"mean absolute error of a sample, {unit}",
        "elbo": "evidence lower bound, nats an observation; higher is better",
    }
    for latent in run.model.grounding.latents:
        name = latent.name
        meanings |= {
            f"{name}_mae": f"mean absolute error of the posterior median, {latent.unit}",
            f"{name}_crps": f"score of the whole posterior, {latent.unit}; lower is better",
            f"{name}_cov50": "share of truths inside the 50 % interval; 0.50 if calibrated",
            f"{name}_cov90": "share of truths inside the 90 % interval; 0.90 if calibrated",
        }
    return {name: meanings[name] for name in metrics if name in meanings}


def _notes(inference_data: az.InferenceData) -> list[str]:
    latents = [str(n) for n in inference_data["posterior"] if n != "z_aux"]
    unknown = [name for name in latents if name not in inference_data["constant_data"]]
    if not unknown:
        return []
    return [
        f"The data carry no true {', '.join(unknown)}: no recovery or coverage is shown for it."
    ]
