"""LOO within a series: is each sample predicted by the others of its own observation?

``az.psislw`` and ``az.loo_pit`` do the work. ``az.loo`` would smooth the same weights a second
time for the sum that ``elpd`` is, and takes seconds more; a test compares the two.
"""

from __future__ import annotations

import warnings

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.special import logsumexp

from groundvae.diagnostics.style import FULL, headline, house_style
from groundvae.diagnostics.uniformity import (
    FEWEST,
    compute_uniformity,
    departure,
    draw_difference,
    uniform_level,
)
from groundvae.diagnostics.verdict import Verdict, too_few, worded

SAMPLES = 10_000  # that are left out, one at a time; more take minutes
DRAWS = 25


def compute_loo_pit(inference_data: az.InferenceData, seed: int = 0) -> xr.Dataset:
    """LOO-PIT of samples left out one at a time, their log predictive density and k-hat.

    Each observation has latents of its own, so samples within an observation are left out, not
    observations. The draws are the guide's. Only so many samples (at random) that it takes
    seconds. Sources: Vehtari, Gelman & Gabry (2017), Gelfand et al. (1992).
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
        pit = az.loo_pit(y=x.ravel()[picked].astype(float), y_hat=y_hat, log_weights=weights)
    observations = len(np.unique(picked // max(1, x[0].size)))
    result = compute_uniformity(np.asarray(pit), observations)
    result["khat"] = ("sample", np.asarray(khat))
    result["elpd"] = ("sample", logsumexp(weights + ll, axis=1))
    result["pit"] = ("sample", np.asarray(pit))
    return result.assign_attrs(draws=len(ll[0]), samples=len(picked))


def check_loo_pit(result: xr.Dataset) -> Verdict:
    """Whether samples are where the others of their series say."""
    n, value = result.attrs["observations"], result.attrs["deviation"]
    name = "left-out samples"
    if n < FEWEST or result.attrs["draws"] < DRAWS:
        return too_few(name, n, FEWEST, result.attrs["limit"])
    level = uniform_level(result)
    how = departure(result)
    meaning = worded(
        level,
        good="Samples lie where the rest of their observation predicts them.",
        bad=f"Predictions of left-out samples are {how}: the model misses structure or its noise "
        "scale does not fit; do not use its bands for interpolation.",
    )
    return Verdict(name, level, meaning, value, result.attrs["limit"], n)


def plot_loo_pit(result: xr.Dataset) -> Figure:
    """Histogram of the LOO-PIT, and its ECDF less the uniform's."""
    with house_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.1))
        left.hist(result["pit"].values, bins=np.linspace(0, 1, 21), density=True, color=FULL)
        left.axhline(1, color="black", lw=1, ls="--")
        left.set_xlabel("LOO-PIT")
        left.set_ylabel("density")
        draw_difference(right, result)
        right.set_xlabel("LOO-PIT")
        right.set_ylabel("ECDF - uniform")
        good = uniform_level(result) == "good"
        finding = "as predicted" if good else f"predictions are {departure(result)}"
        headline(
            figure,
            f"{result.attrs['samples']} samples left out of their series: {finding}\n"
            "(grey: 99.9 % of calibrated ones, one sample an observation)",
        )
    return figure
