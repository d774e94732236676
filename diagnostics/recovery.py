"""Recovery of one physics latent: estimates and intervals against the truth."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.score import coverage, interval
from groundvae.diagnostics.style import FULL, TRUTH, house_style

SHOWN = 120  # intervals drawn one by one; more would hide each other


def compute_recovery(draws: np.ndarray, truth: np.ndarray) -> xr.Dataset:
    """Median and 90 % interval of each observation; ``draws`` (draw, observation)."""
    low, high = interval(draws, 0.9)
    return xr.Dataset(
        {
            "truth": ("observation", truth),
            "median": ("observation", np.median(draws, axis=0)),
            "low": ("observation", low),
            "high": ("observation", high),
        },
        attrs={
            "mae": float(np.abs(np.median(draws, axis=0) - truth).mean()),
            "cov90": coverage(draws, truth, 0.9),
        },
    )


def plot_recovery(recovery: xr.Dataset, name: str, unit: str) -> Figure:
    """Estimate against truth with 90 % intervals for an even sample of the observations."""
    n = recovery.sizes["observation"]
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
        axes.set_xlabel(f"true {name} ({unit})")
        axes.set_ylabel(f"inferred {name} ({unit})")
        axes.set_title(
            f"{name}: mean error {recovery.attrs['mae']:.3g} {unit}; 90 % intervals hold\n"
            f"{100 * recovery.attrs['cov90']:.0f} % of {n} true values"
        )
        axes.legend(loc="upper left")
    return figure
