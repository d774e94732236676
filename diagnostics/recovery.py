"""Recovery of one physics latent: estimates and intervals against the truth."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.latents import KnownLatent
from groundvae.diagnostics.score import circular_difference, coverage, crps, interval
from groundvae.diagnostics.style import FULL, TRUTH, house_style, labelled
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded

SHOWN = 120  # intervals drawn one by one; more would hide each other
GOOD, DOUBTFUL = 0.9, 0.5  # correlation with the truth


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
        off = circular_difference(median, latent.truth, latent.period)
    variables = {"truth": latent.truth, "median": median, "low": low, "high": high, "crps": score}
    attrs = {
        "name": latent.name,
        "unit": latent.unit,
        "mae": float(np.abs(off).mean()),
        "crps": float(score.mean()),
        "cov90": coverage(latent.draws, latent.truth, 0.9),
        "correlation": _correlation(median, latent.truth, latent.period),
    }
    if latent.period is not None:
        attrs["period"] = latent.period
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


def check_recovery(recovery: xr.Dataset) -> Verdict:
    """Whether the estimates follow the truth."""
    n, value = recovery.sizes["observation"], float(recovery.attrs["correlation"])
    name = f"recovery of {recovery.attrs['name']}"
    if n < FEWEST:
        return too_few(name, n, FEWEST, GOOD)
    if not np.isfinite(value):
        meaning = "Truth or estimate is the same everywhere: diagnose on data that vary."
        return Verdict(name, "not enough data", meaning, value, GOOD, n)
    level = grade(value, GOOD, DOUBTFUL)
    meaning = worded(
        level,
        good="The estimates follow the true values; use them as estimates.",
        doubtful="The estimates follow the true values only roughly: rely on the intervals, not "
        "on the medians, and only if coverage is good.",
        bad="The estimates do not follow the true values: do not interpret this latent; look at "
        "what the residual may imitate, or at data that inform it.",
    )
    return Verdict(name, level, meaning, value, GOOD, n)


def plot_recovery(recovery: xr.Dataset) -> Figure:
    """Estimate against truth with 90 % intervals for an even sample of the observations."""
    n, name, unit = (recovery.sizes["observation"], *(recovery.attrs[k] for k in ("name", "unit")))
    shown = recovery.isel(observation=np.linspace(0, n - 1, min(n, SHOWN)).astype(int))
    off = np.stack([shown["median"] - shown["low"], shown["high"] - shown["median"]])
    ends = [float(recovery["truth"].min()), float(recovery["truth"].max())]
    with house_style():
        figure, axes = plt.subplots(figsize=(5.2, 4.6))
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
        period = recovery.attrs.get("period")
        wraps = f", modulo {period:.3g}" if period else ""
        axes.set_xlabel(labelled(f"true {name}", unit) + wraps)
        axes.set_ylabel(labelled(f"inferred {name}", unit) + wraps)
        axes.set_title(
            f"{name}: mean error {recovery.attrs['mae']:.3g} {unit}; 90 % intervals hold\n"
            f"{100 * recovery.attrs['cov90']:.0f} % of {n} true values"
        )
        axes.legend(loc="upper left")
    return figure
