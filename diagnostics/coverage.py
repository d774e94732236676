"""Coverage: how often central intervals of 20 levels hold the truth.

Below the diagonal is overconfident. Misleads: it averages over observations, so that some too
narrow and others too wide can cancel, and a shift hardly shows. Sources: Talts et al. (2018); for
the band Saeilynoja, Buerkner & Vehtari (2022).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import binom

from groundvae.diagnostics.check import registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.latents import KnownLatent
from groundvae.diagnostics.score import placement
from groundvae.diagnostics.style import BAND, FULL
from groundvae.diagnostics.truth import TruthCheck
from groundvae.diagnostics.uniformity import Uniformity, compute_uniformity
from groundvae.diagnostics.verdict import Level

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
    return result.assign_attrs(latent=latent.name, excess=excess)


@registered
class Coverage(Uniformity, TruthCheck):
    """Whether the intervals may be read at face value."""

    name, subject = "coverage", "coverage of {of}"
    alternative = "Share of true {latent} inside central intervals against the intervals' level."
    caption = (
        "Below the diagonal the intervals are too narrow, above it too wide. Averages over "
        "all observations: two groups can err in opposite directions and cancel."
    )
    sentences = {
        "good": "The intervals hold the truth as often as they claim; read them at face value.",
        "bad": "The intervals are too narrow: true values fall outside more often than claimed; "
        "widen them, or mix runs that differ in residual and penalties.",
        "wide": "The intervals are too wide: true values lie inside more often than claimed; they "
        "are safe but say less than the data do, so train the guide longer.",
    }
    size = (4.8, 4.4)
    metric_words = {"{latent}_coverage_deviation": "largest departure of coverage from its level"}

    def compute(self, context: Context) -> xr.Dataset:
        return compute_coverage(context.latent)

    def case(self, part: xr.Dataset, level: Level) -> str:
        return level if level == "good" or part.attrs["excess"] < 0 else "wide"

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        level, covered = result["level"], result["covered"]
        at90 = 100 * float(covered.sel(level=0.9, method="nearest"))
        axes = grid[0, 0]
        for low, high, alpha, label in BANDS:
            axes.fill_between(
                level, result[low], result[high], color=BAND, alpha=alpha, lw=0, label=label
            )
        axes.plot([0, 1], [0, 1], color="0.4", lw=0.8)
        axes.plot(level, covered, "o-", ms=3, lw=1.3, color=FULL, label="observed")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set(xlabel="level of the central interval", ylabel="share of true values inside")
        axes.legend(loc="upper left", title="calibrated posteriors stay in grey")
        return (
            f"{result.attrs['latent']}: 90 % intervals hold {at90:.0f} % of "
            f"{result.attrs['observations']} true values"
        )
