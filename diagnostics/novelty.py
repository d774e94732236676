"""Novelty: observations unlike those that the run knows (out of distribution)."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.style import FULL, PHYSICS, house_style
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded

QUANTILE = 0.99
GOOD, DOUBTFUL = 0.05, 0.25  # share of observations beyond the threshold; 0.01 is expected
RIDGE = 1e-3  # of the mean variance: features that hardly vary must not decide


def compute_novelty(scores: np.ndarray, known: np.ndarray) -> xr.Dataset:
    """Which observations score above the 0.99 quantile of known ones.

    ``scores`` (observation,) and ``known`` (validation observation,): any score that is larger
    the stranger an observation, such as the negative IWAE bound or ``feature_distance``. The
    quantile is the conformal one: of exchangeable observations at most 1 % lie beyond it.
    Source: Laxhammar & Falkman (2010); limits of density scores: Nalisnick et al. (2019).

    >>> int(compute_novelty(np.array([0.0, 9.0]), np.arange(500) / 500)["novel"].sum())
    1
    """
    threshold = conformal_threshold(known)
    novel = ~(scores <= threshold)  # a score that is no number is strange
    variables = {"score": ("observation", scores), "novel": ("observation", novel)}
    return xr.Dataset(variables, attrs={"threshold": threshold, "known": len(known)})


def conformal_threshold(known: np.ndarray, quantile: float = QUANTILE) -> float:
    """The smallest score with ``quantile`` of the known ones, and one to come, below it.

    Infinite where there are too few known scores to say.

    >>> conformal_threshold(np.arange(10.0))
    inf
    """
    rank = int(np.ceil(quantile * (len(known) + 1)))
    return float(np.sort(known)[rank - 1]) if rank <= len(known) else float("inf")


def feature_distance(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Mahalanobis distance (observation,) of features from those of reference observations.

    Take the reference from training data and the threshold from validation data. Source: Lee
    et al. (2018).

    >>> rng = np.random.default_rng(0)
    >>> feature_distance(np.array([[0.0, 0.0], [9.0, 0.0]]), rng.normal(size=(500, 2))).argmax()
    np.int64(1)
    """
    covariance = np.atleast_2d(np.cov(reference, rowvar=False))
    size = covariance.shape[0]
    covariance = covariance + (RIDGE * np.trace(covariance) / size + 1e-12) * np.eye(size)
    white = np.linalg.solve(np.linalg.cholesky(covariance), (features - reference.mean(axis=0)).T)
    return np.asarray(np.sqrt((white**2).sum(axis=0)))


def check_novelty(result: xr.Dataset) -> Verdict:
    """Whether the data are of the kind that the run knows."""
    n, name = result.sizes["observation"], "novelty of the observations"
    if n < FEWEST or not np.isfinite(result.attrs["threshold"]):
        return too_few(name, min(n, result.attrs["known"]), FEWEST, GOOD)
    value = float(result["novel"].mean())
    level = grade(value, GOOD, DOUBTFUL)
    meaning = worded(
        level,
        good="The observations are like those that the run was validated on.",
        bad=f"{100 * value:.0f} % of the observations are unlike those that the run knows: its "
        "posteriors there are extrapolations; leave them out, or fit on data like them.",
    )
    return Verdict(name, level, meaning, value, GOOD, n)


def plot_novelty(result: xr.Dataset) -> Figure:
    """Sorted scores with the threshold."""
    scores = np.sort(result["score"].values)
    share = 100 * float(result["novel"].mean())
    with house_style():
        figure, axes = plt.subplots(figsize=(5.2, 3.2))
        axes.plot(100 * (np.arange(len(scores)) + 0.5) / len(scores), scores, ".", color=FULL)
        axes.axhline(result.attrs["threshold"], color=PHYSICS, ls="--", label="threshold")
        axes.set_xlabel("observations, sorted (%)")
        axes.set_ylabel("novelty score")
        axes.set_title(f"{share:.0f} % of the observations are beyond the threshold")
        axes.legend(loc="upper left")
    return figure
