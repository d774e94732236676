"""The flat table of metrics of one run on one data set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from groundvae.diagnostics.evidence import compute_evidence
from groundvae.diagnostics.latents import known_latents
from groundvae.diagnostics.recovery import compute_recovery
from groundvae.diagnostics.score import coverage
from groundvae.inference import arviz as az

METRIC_WORDS = {
    "reconstruction_sse": "squared error of the mean prediction, summed over samples, {unit}²",
    "reconstruction_mae": "mean absolute error of a sample, {unit}",
    "elbo": "evidence lower bound, nats an observation; higher is better",
    "log_evidence": "Laplace's approximation of log p(x), nats an observation; higher is better",
    "iwae": "importance-weighted bound of log p(x), nats an observation; higher is better",
    "{latent}_mae": "mean absolute error of the posterior median, {unit}",
    "{latent}_crps": "score of the whole posterior, {unit}; lower is better",
    "{latent}_cov50": "share of truths inside the 50 % interval; 0.50 if calibrated",
    "{latent}_cov90": "share of truths inside the 90 % interval; 0.90 if calibrated",
}


def compute_metrics(
    inference_data: az.InferenceData, periods: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Metrics by name.

    ``reconstruction_sse``: squared error of the posterior predictive mean, summed over an
    observation's samples, mean over observations; ``reconstruction_mae``: per sample; ``elbo``:
    mean of log p(x, z) - log q(z | x); ``iwae``: mean over observations of the bound that the
    same weights give of each one's evidence (it rises with the draws that are decoded);
    ``log_evidence``: what the guide itself says of it, where it does. For
    each physics latent with known truth ``*_mae`` (of the posterior median), ``*_crps``,
    ``*_cov50`` and ``*_cov90`` (share of truths inside the central intervals). ``periods`` of
    the angles that wrap.
    """
    x = inference_data["observed_data"]["x"].values
    error = inference_data["posterior_predictive"]["x"].mean(("chain", "draw")).values - x
    axes = tuple(range(1, x.ndim))
    metrics = {
        "reconstruction_sse": float(np.nansum(error**2, axis=axes).mean()),
        "reconstruction_mae": float(np.nanmean(np.abs(error))),
    }
    weighted = "sample_stats" in inference_data and "log_weight" in inference_data["sample_stats"]
    if weighted:  # draws of NUTS have none
        evidence = compute_evidence(inference_data["sample_stats"]["log_weight"])
        metrics["elbo"] = float(evidence["elbo"].mean())
        metrics["iwae"] = float(evidence["iwae"].mean())
    if "constant_data" in inference_data and "log_evidence" in inference_data["constant_data"]:
        metrics["log_evidence"] = float(inference_data["constant_data"]["log_evidence"].mean())
    for latent in known_latents(inference_data, periods):
        recovery = compute_recovery(latent)
        metrics |= {
            f"{latent.name}_mae": recovery.attrs["mae"],
            f"{latent.name}_crps": recovery.attrs["crps"],
            f"{latent.name}_cov50": coverage(latent.draws, latent.truth, 0.5),
            f"{latent.name}_cov90": recovery.attrs["cov90"],
        }
    return metrics
