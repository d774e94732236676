"""Reconstruction: data, full model with its 90 % band, and physics alone."""

from __future__ import annotations

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.score import interval
from groundvae.diagnostics.style import DATA, FULL, PHYSICS, house_style

PANELS = 6


def compute_reconstruction(inference_data: az.InferenceData) -> xr.Dataset:
    """Mean and 90 % band of the prediction (observation, ...), and the mean of physics alone."""
    predictive = inference_data["posterior_predictive"]["x"]
    dims = predictive.dims[2:]
    draws = np.concatenate(predictive.values)
    low, high = interval(draws, 0.9)
    x = inference_data["observed_data"]["x"].values
    variables = {
        "mean": (dims, draws.mean(axis=0)),
        "low": (dims, low),
        "high": (dims, high),
    }
    if "physics_predictive" in inference_data:
        physics = inference_data["physics_predictive"]["x"].mean(("chain", "draw")).values
        variables["physics"] = (dims, physics)
    coords = {d: predictive.coords[d] for d in dims if d in predictive.coords}
    result = xr.Dataset(variables, coords=coords)
    if x.shape == low.shape:
        result["x"] = (dims, x)
        inside = ((low <= x) & (x <= high))[~np.isnan(x)]
        result.attrs["band_coverage"] = float(inside.mean())
        axes = tuple(range(1, x.ndim))
        result["sse"] = (dims[:1], np.nansum((draws.mean(axis=0) - x) ** 2, axis=axes))
    return result


def plot_reconstruction(result: xr.Dataset, quantity: str, unit: str) -> Figure:
    """Series from the best to the worst reconstructed one, at even ranks of their errors."""
    order = np.argsort(result["sse"].values)
    picks = order[np.linspace(0, len(order) - 1, min(PANELS, len(order))).astype(int)]
    time = result["time"].values
    with house_style():
        columns = min(3, len(picks))
        rows = -(-len(picks) // columns)
        figure, grid = plt.subplots(
            rows,
            columns,
            figsize=(3.1 * columns + 0.4, 2.2 * rows + 0.9),
            sharex=True,
            squeeze=False,
        )
        for axes, pick in zip(grid.flat, picks, strict=False):
            series = result.isel(observation=int(pick))
            axes.fill_between(
                time, series["low"], series["high"], color=FULL, alpha=0.25, lw=0, label="90 % band"
            )
            axes.plot(time, series["mean"], color=FULL, lw=1.2, label="full model")
            if "physics" in series:
                axes.plot(
                    time, series["physics"], color=PHYSICS, ls="--", lw=1.2, label="physics alone"
                )
            axes.plot(time, series["x"], "o", ms=2, color=DATA, label="data")
            axes.set_title(f"observation {pick}: SSE {float(series['sse']):.2g}", fontsize=8)
        for axes in grid.flat[len(picks) :]:
            axes.set_visible(False)
        figure.supxlabel("time (s)", fontsize=9)
        figure.supylabel(f"{quantity} ({unit})", fontsize=9)
        share = 100 * result.attrs["band_coverage"]
        figure.suptitle(
            f"Best to worst reconstruction; the 90 % bands hold {share:.0f} % of all samples",
            fontsize=10,
        )
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure
