"""Coverage: how often central intervals of 20 levels hold the truth."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import binom

from groundvae.diagnostics.latents import KnownLatent
from groundvae.diagnostics.score import placement
from groundvae.diagnostics.style import BAND, FULL, house_style
from groundvae.diagnostics.uniformity import FEWEST, compute_uniformity, uniform_level
from groundvae.diagnostics.verdict import Verdict, too_few, worded

BANDS = (
    ("low", "high", 0.25, "99.9 %, all levels at once"),
    ("point_low", "point_high", 0.45, "95 %, each level by itself"),
)


def compute_coverage(latent: KnownLatent) -> xr.Dataset:
    """Share of truths inside their central interval at 20 levels, with two bands.

    The truth lies inside the central interval of level p where ``|2 placement - 1| < p``, so
    coverage is the ECDF of that number. ``low`` and ``high`` are the simultaneous band;
    ``point_low`` and ``point_high`` the 95 % binomial band of each level by itself.
    """
    credibility = np.abs(2 * placement(latent.draws, latent.truth) - 1)
    result = compute_uniformity(credibility).rename(ecdf="covered")
    n = result.attrs["observations"]
    low, high = binom.interval(0.95, n, result["level"].values)
    result["point_low"], result["point_high"] = ("level", low / n), ("level", high / n)
    excess = float((result["covered"] - result["level"]).mean())
    return result.assign_attrs(name=latent.name, unit=latent.unit, excess=excess)


def check_coverage(result: xr.Dataset) -> Verdict:
    """Whether the intervals may be read at face value."""
    n, value = result.attrs["observations"], result.attrs["deviation"]
    name = f"coverage of {result.attrs['name']}"
    if n < FEWEST:
        return too_few(name, n, FEWEST, result.attrs["limit"])
    level = uniform_level(result)
    narrow = result.attrs["excess"] < 0
    meaning = worded(
        level,
        good="The intervals hold the truth as often as they claim; read them at face value.",
        bad="The intervals are too narrow: true values fall outside more often than claimed; "
        "widen them, or mix runs that differ in residual and penalties."
        if narrow
        else "The intervals are too wide: true values lie inside more often than claimed; they "
        "are safe but say less than the data do, so train the guide longer.",
    )
    return Verdict(name, level, meaning, value, result.attrs["limit"], n)


def plot_coverage(result: xr.Dataset) -> Figure:
    """Observed against nominal coverage; below the diagonal is overconfident."""
    level, covered = result["level"], result["covered"]
    at90 = 100 * float(covered.sel(level=0.9, method="nearest"))
    with house_style():
        figure, axes = plt.subplots(figsize=(4.8, 4.4))
        for low, high, alpha, label in BANDS:
            axes.fill_between(
                level, result[low], result[high], color=BAND, alpha=alpha, lw=0, label=label
            )
        axes.plot([0, 1], [0, 1], color="0.4", lw=0.8)
        axes.plot(level, covered, "o-", ms=3, lw=1.3, color=FULL, label="observed")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_xlabel("level of the central interval")
        axes.set_ylabel("share of true values inside")
        axes.set_title(
            f"{result.attrs['name']}: 90 % intervals hold {at90:.0f} % of "
            f"{result.attrs['observations']} true values"
        )
        axes.legend(loc="upper left", title="calibrated posteriors stay in grey")
    return figure
