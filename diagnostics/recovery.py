"""Recovery of one physics latent: estimates and intervals against the truth.

Correlation, mean absolute error and CRPS. Misleads: correlation is high whenever the true values
are spread out, and sees neither bias nor width. Sources: Gneiting & Raftery (2007); on the circle
Grimit et al. (2006), Fisher & Lee (1983).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.latents import KnownLatent
from groundvae.diagnostics.score import coverage, crps, interval
from groundvae.diagnostics.style import FULL, TRUTH, choose, labelled
from groundvae.diagnostics.truth import TruthCheck
from groundvae.models.circle import difference

SHOWN = 120  # intervals drawn one by one; more would hide each other


def compute_recovery(latent: KnownLatent) -> xr.Dataset:
    """Median, 90 % interval and CRPS of each observation; summaries in the attributes.

    >>> latent = KnownLatent("a", np.array([[0.0, 1.0], [0.2, 1.2]]), np.array([0.1, 1.1]))
    >>> round(compute_recovery(latent).attrs["mae"], 6)
    0.0
    """
    low, high = interval(latent.draws, 0.9)
    median = np.median(latent.draws, axis=0)
    score = crps(latent.draws, latent.truth, latent.period)
    off = median - latent.truth
    if latent.period is not None:
        off = difference(median, latent.truth, latent.period)
    variables = {"truth": latent.truth, "median": median, "low": low, "high": high, "crps": score}
    attrs = {
        "latent": latent.name,
        "unit": latent.unit,
        "period": latent.period or 0.0,
        "mae": float(np.abs(off).mean()),
        "crps": float(score.mean()),
        "cov90": coverage(latent.draws, latent.truth, 0.9),
        "correlation": _correlation(median, latent.truth, latent.period),
    }
    return xr.Dataset({k: ("observation", v) for k, v in variables.items()}, attrs=attrs)


def _correlation(a: np.ndarray, b: np.ndarray, period: float | None) -> float:
    """Pearson's, or on a circle that of Fisher & Lee (1983)."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    if period is None:
        return float(np.corrcoef(a, b)[0, 1])
    unit = 2 * np.pi / period
    together = np.abs(np.exp(1j * unit * (a - b)).mean())
    mirrored = np.abs(np.exp(1j * unit * (a + b)).mean())
    spread = [1 - np.abs(np.exp(2j * unit * angle).mean()) ** 2 for angle in (a, b)]
    return float((together**2 - mirrored**2) / np.sqrt(spread[0] * spread[1]))


@registered
class Recovery(TruthCheck):
    """Whether the estimates follow the truth."""

    name, subject = "recovery", "recovery of {of}"
    alternative = "Inferred {latent} with 90 % intervals against its true value."
    caption = (
        "Points on the line are right. If fewer than 90 % of the intervals reach the line, "
        "the posterior is overconfident."
    )
    always = True
    good, doubtful = 0.9, 0.5  # correlation with the truth
    measured = "correlation"
    sentences = {
        "good": "The estimates follow the true values; use them as estimates.",
        "doubtful": "The estimates follow the true values only roughly: rely on the intervals, not "
        "on the medians, and only if coverage is good.",
        "bad": "The estimates do not follow the true values: do not interpret this latent; look at "
        "what the residual may imitate, or at data that inform it.",
    }
    size = (5.2, 4.6)
    metric_words = {"{latent}_correlation": "of the posterior median with the truth"}

    def compute(self, context: Context) -> xr.Dataset:
        return compute_recovery(context.latent)

    def refusal(self, part: xr.Dataset) -> str:
        vague = "Truth or estimate is the same everywhere: diagnose on data that vary."
        return super().refusal(part) or ("" if np.isfinite(self.value(part)) else vague)

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        n, name, unit = result.sizes["observation"], result.attrs["latent"], result.attrs["unit"]
        shown = result.isel(observation=choose(n, SHOWN))
        off = np.stack([shown["median"] - shown["low"], shown["high"] - shown["median"]])
        ends = [float(result["truth"].min()), float(result["truth"].max())]
        axes = grid[0, 0]
        axes.plot(ends, ends, color=TRUTH, lw=1.2, label="estimate = truth", zorder=3)
        axes.errorbar(
            shown["truth"],
            shown["median"],
            yerr=np.maximum(off, 0),
            fmt="o",
            ms=2.5,
            lw=0.7,
            color=FULL,
            label="median and 90 % interval",
        )
        period = result.attrs["period"]
        wraps = f", modulo {period:.3g}" if period else ""
        axes.set_xlabel(labelled(f"true {name}", unit) + wraps)
        axes.set_ylabel(labelled(f"inferred {name}", unit) + wraps)
        axes.legend(loc="upper left")
        return (
            f"{name}: mean error {result.attrs['mae']:.3g} {unit}; 90 % intervals hold\n"
            f"{100 * result.attrs['cov90']:.0f} % of {n} true values"
        )
