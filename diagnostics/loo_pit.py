"""LOO within a series: is each sample predicted by the others of its own observation?

Each observation has latents of its own, so samples within an observation are left out, not
observations. ``az.psislw`` and ``az.loo_pit`` do the work. ``az.loo`` would smooth the same
weights a second time for the sum that ``elpd`` is, and takes seconds more; a test compares the
two. Misleads: neighbours are alike, so it is easier to pass than forecasting; weights are
unreliable where their k-hat is high. Sources: Vehtari, Gelman & Gabry (2017), Gelfand et al.
(1992).
"""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from groundvae.diagnostics.check import (
    DRAWS,
    ENOUGH_DRAWS,
    LIKELIHOOD,
    PREDICTIVE,
    Check,
    registered,
)
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import FULL
from groundvae.diagnostics.uniformity import (
    Uniformity,
    compute_uniformity,
    departure,
    draw_difference,
)
from groundvae.inference import arviz as az

SAMPLES = 4_000  # that are left out, one at a time: twice as many say the same and take seconds


def compute_loo_pit(inference_data: az.InferenceData, seed: int = 0) -> xr.Dataset:
    """LOO-PIT of samples left out one at a time, their log predictive density and k-hat, (sample,).

    The draws are the guide's. Only so many samples (at random) that it takes seconds.
    """
    likelihood = np.concatenate(inference_data["log_likelihood"]["x"].values)
    replicated = np.concatenate(inference_data["posterior_predictive"]["x"].values)
    x = inference_data["observed_data"]["x"].values
    index = np.flatnonzero(np.isfinite(x) & np.isfinite(likelihood).all(axis=0))
    rng = np.random.default_rng(seed)
    picked = rng.permutation(index)[:SAMPLES]
    ll = likelihood.reshape(len(likelihood), -1)[:, picked].T.astype(float)
    y_hat = replicated.reshape(len(replicated), -1)[:, picked].T.astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # k-hat is reported below
        weights, khat = az.psislw(-ll)
        pit = az.loo_pit(x.ravel()[picked].astype(float), y_hat, weights)
    observations = len(np.unique(picked // max(1, x[0].size)))
    result = compute_uniformity(pit, observations)
    result["khat"] = ("sample", khat)
    result["elpd"] = ("sample", logsumexp(weights + ll, axis=1))
    result["pit"] = ("sample", pit)
    return result.assign_attrs(
        draws=len(ll[0]), samples=len(picked), elpd_loo_sample=float(result["elpd"].mean())
    )


@registered
class LooPit(Uniformity, Check):
    """Whether samples are where the others of their series say."""

    name, title, subject = "loo_pit", "Left-out samples", "left-out samples"
    alternative = "Histogram of the LOO-PIT of single samples, and its distance from uniform."
    caption = (
        "Each sample against what the rest of its own observation predicts. A valley means bands "
        "too narrow. Neighbours are alike, so it is easier to pass than forecasting."
    )
    needs = (LIKELIHOOD, PREDICTIVE, ENOUGH_DRAWS)
    sentences = {
        "good": "Samples lie where the rest of their observation predicts them.",
        "bad": "Predictions of left-out samples are {how}: the model misses structure or its noise "
        "scale does not fit; do not use its bands for interpolation.",
    }
    size, columns = (6.4, 3.1), 2
    metric_words = {
        "loo_pit_deviation": "largest departure of LOO-PIT from uniform",
        "elpd_loo_sample": "log predictive density of a left-out sample, nats",
    }

    def compute(self, context: Context) -> xr.Dataset:
        return compute_loo_pit(context.inference_data)

    def refusal(self, part: xr.Dataset) -> str:
        few = f"No verdict from fewer than {DRAWS} draws: diagnose with more predictive draws."
        return super().refusal(part) or (few if part.attrs["draws"] < DRAWS else "")

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        left, right = grid[0]
        left.hist(result["pit"].values, bins=np.linspace(0, 1, 21), density=True, color=FULL)
        left.axhline(1, color="black", lw=1, ls="--")
        left.set(xlabel="LOO-PIT", ylabel="density")
        draw_difference(right, result, "LOO-PIT")
        good = self.calibrated(result)
        finding = "as predicted" if good else f"predictions are {departure(result)}"
        return (
            f"{result.attrs['samples']} samples left out of their series: {finding}\n"
            "(grey: 99.9 % of calibrated ones, one sample an observation)"
        )
