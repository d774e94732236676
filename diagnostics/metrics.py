"""The flat table of metrics of one run on one data set."""

from __future__ import annotations

from collections.abc import Iterator

import arviz as az
import numpy as np

from groundvae.diagnostics.score import coverage, crps


def compute_metrics(inference_data: az.InferenceData) -> dict[str, float]:
    """Metrics by name.

    ``reconstruction_sse``: squared error of the posterior predictive mean, summed over an
    observation's samples, mean over observations; ``reconstruction_mae``: per sample; ``elbo``:
    mean of log p(x, z) - log q(z | x). For each physics latent with known truth ``*_mae`` (of
    the posterior median), ``*_crps``, ``*_cov50`` and ``*_cov90`` (share of truths inside the
    central intervals).
    """
    x = inference_data["observed_data"]["x"].values
    error = inference_data["posterior_predictive"]["x"].mean(("chain", "draw")).values - x
    axes = tuple(range(1, x.ndim))
    metrics = {
        "reconstruction_sse": float(np.nansum(error**2, axis=axes).mean()),
        "reconstruction_mae": float(np.nanmean(np.abs(error))),
    }
    if "sample_stats" in inference_data:
        metrics["elbo"] = float(inference_data["sample_stats"]["log_weight"].mean())
    for name, draws, truth in known_latents(inference_data):
        metrics |= {
            f"{name}_mae": float(np.abs(np.median(draws, axis=0) - truth).mean()),
            f"{name}_crps": float(crps(draws, truth).mean()),
            f"{name}_cov50": coverage(draws, truth, 0.5),
            f"{name}_cov90": coverage(draws, truth, 0.9),
        }
    return metrics


def known_latents(
    inference_data: az.InferenceData,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Each physics latent with known truth: name, draws (draw, observation), truth."""
    truths = inference_data["constant_data"]
    for name, variable in inference_data["posterior"].data_vars.items():
        if name in truths:
            yield str(name), np.concatenate(variable.values), truths[name].values
