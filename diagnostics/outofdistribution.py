"""Out of distribution: are the data of the kind that the run knows (out of distribution)?"""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import betabinom

from groundvae.diagnostics.style import FULL, PHYSICS, headline, house_style
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded
from groundvae.inference.outofdistribution import SCORES

GOOD, DOUBTFUL = 0.05, 0.25  # share of observations beyond a threshold; 0.01 is expected
SURE = 0.999
WIDE = 50.0  # range of a score beyond which its axis is bent
WORDS = {
    "surprise": "negative log density (nats a sample)",
    "feature_distance": "distance of features (sd)",
}


def compute_outofdistribution(marked: xr.Dataset) -> xr.Dataset:
    """Share of strange observations, by either score, and the share that chance allows.

    ``marked`` holds the scores and ``out_of_distribution`` (observation,), as stored in
    ``constant_data``. Of m new observations the number beyond the k-th of n known ones is
    beta-binomial, (m, n + 1 - k, k), if all are of one kind: ``limit`` is its 99.9 % quantile,
    summed over the scores, or ``GOOD`` if that is more.
    """
    names = [name for name in SCORES if name in marked]
    result = marked[[*names, "out_of_distribution"]]
    m = result.sizes["observation"]
    known = max(int(result[name].attrs["known"]) for name in names)
    chance = sum(_chance(result[name], m, SURE ** (1 / len(names))) for name in names)
    expected = sum(float(result[name].attrs["rate"]) for name in names)
    attrs = {"known": known, "expected": expected, "limit": max(GOOD, chance)}
    return result.assign_attrs(attrs | {"share": float(result["out_of_distribution"].mean())})


def _chance(score: xr.DataArray, m: int, sure: float) -> float:
    n = int(score.attrs["known"])
    above = max(1, round(score.attrs["rate"] * (n + 1)))
    return float(betabinom.ppf(sure, m, above, n + 1 - above)) / m if n else 1.0


def check_outofdistribution(result: xr.Dataset) -> Verdict:
    """Whether the data are of the kind that the run knows."""
    n, known = result.sizes["observation"], result.attrs["known"]
    name, limit = "observations out of distribution", result.attrs["limit"]
    if n < FEWEST or not result.attrs["expected"]:
        if n >= FEWEST:
            meaning = f"No verdict from {known} validation observations: fit with {FEWEST} or more."
            return Verdict(name, "not enough data", meaning, math.nan, limit, known)
        return too_few(name, n, FEWEST, limit)
    value = result.attrs["share"]
    level = grade(value, limit, max(limit, DOUBTFUL))
    meaning = worded(
        level,
        good="The observations are like those that the run was validated on.",
        bad=f"{100 * value:.0f} % of the observations are unlike those that the run knows: its "
        "posteriors there are extrapolations; leave them out, or fit on data like them.",
    )
    return Verdict(name, level, meaning, value, limit, n)


def plot_outofdistribution(result: xr.Dataset) -> Figure:
    """Sorted scores with their thresholds."""
    names = [str(name) for name in result.data_vars if name != "out_of_distribution"]
    share, n = 100 * result.attrs["share"], result.sizes["observation"]
    with house_style():
        figure, grid = plt.subplots(
            1, len(names), figsize=(1.2 + 2.7 * len(names), 3.1), squeeze=False
        )
        percent = 100 * (np.arange(n) + 0.5) / n
        for axes, name in zip(grid.flat, names, strict=True):
            axes.plot(percent, np.sort(result[name].values), ".", ms=4, color=FULL)
            axes.axhline(result[name].attrs["threshold"], color=PHYSICS, ls="--")
            if np.ptp(result[name].values) > WIDE:  # a few far ones would flatten all others
                axes.set_yscale("symlog", linthresh=10)
            axes.set_xlabel("observations, sorted (%)")
            axes.set_ylabel(WORDS.get(name, name))
        headline(
            figure,
            f"{share:.1f} % of {n} observations are beyond a threshold (dashed);\n"
            f"of ordinary ones {100 * result.attrs['expected']:.1f} % would be",
        )
    return figure
