"""Reconstruction: data, full model with its 90 % band, and physics alone."""

from __future__ import annotations

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groundvae.diagnostics.score import interval
from groundvae.diagnostics.style import DATA, FULL, PHYSICS, headline, house_style, labelled

PANELS = 6
PICTURES = 4
SERIES_CHANNELS = 4  # a second axis this short is channels of a series, not space
CHUNK = 100  # observations whose quantiles are taken at once


def compute_reconstruction(inference_data: az.InferenceData) -> xr.Dataset:
    """Mean and 90 % band of the prediction (observation, ...), and the mean of physics alone."""
    predictive = inference_data["posterior_predictive"]["x"]
    dims = predictive.dims[2:]
    draws = np.concatenate(predictive.values)
    parts = [interval(draws[:, i : i + CHUNK], 0.9) for i in range(0, draws.shape[1], CHUNK)]
    low, high = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    x = inference_data["observed_data"]["x"].values
    variables = {
        "mean": (dims, draws.mean(axis=0)),
        "low": (dims, low),
        "high": (dims, high),
    }
    if "physics_predictive" in inference_data:
        physics = inference_data["physics_predictive"]["x"].mean(("chain", "draw")).values
        if physics.shape == low.shape:
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
    """Observations from the best to the worst reconstructed, at even ranks of their errors.

    Series (with up to four channels) are drawn as lines, fields and images as pictures.
    """
    events = result["x"].dims[1:]
    if len(events) == 1:
        return _plot_series(result, quantity, unit)
    if len(events) == 2 and result.sizes[events[1]] <= SERIES_CHANNELS:
        return _plot_channels(result, quantity, unit)
    return _plot_pictures(result, quantity, unit)


def _picks(result: xr.Dataset, count: int) -> list[int]:
    order = np.argsort(result["sse"].values)
    return [
        int(i) for i in order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]
    ]


def _plot_series(result: xr.Dataset, quantity: str, unit: str) -> Figure:
    picks = _picks(result, PANELS)
    columns = min(3, len(picks))
    rows = -(-len(picks) // columns)
    with house_style():
        figure, grid = plt.subplots(
            rows,
            columns,
            figsize=(max(3.1 * columns + 0.4, 5.2), 2.2 * rows + 0.9),
            sharex=True,
            squeeze=False,
        )
        for axes, pick in zip(grid.flat, picks, strict=False):
            series = result.isel(observation=pick)
            _draw_lines(axes, series)
            axes.set_title(f"observation {pick}: SSE {float(series['sse']):.2g}", fontsize=8)
        for axes in grid.flat[len(picks) :]:
            axes.set_visible(False)
        _finish(figure, grid.flat[0], result, quantity, unit)
    return figure


def _plot_channels(result: xr.Dataset, quantity: str, unit: str) -> Figure:
    picks = _picks(result, PICTURES)
    channel = result["x"].dims[2]
    count = result.sizes[channel]
    names = result[channel].values if channel in result.coords else range(count)
    with house_style():
        figure, grid = plt.subplots(
            len(picks),
            count,
            figsize=(max(2.4 * count + 0.4, 5.2), 1.8 * len(picks) + 0.9),
            sharex=True,
            squeeze=False,
        )
        for row, pick in zip(grid, picks, strict=True):
            for axes, i in zip(row, range(count), strict=True):
                _draw_lines(axes, result.isel({"observation": pick, channel: i}))
            row[0].set_ylabel(f"observation {pick}", fontsize=8)
        for axes, name in zip(grid[0], names, strict=True):
            axes.set_title(f"{channel} {name}", fontsize=8)
        _finish(figure, grid.flat[0], result, quantity, unit)
    return figure


def _draw_lines(axes: Axes, series: xr.Dataset) -> None:
    axis = series["x"].dims[0]
    at = series[axis].values if axis in series.coords else np.arange(series.sizes[axis])
    axes.fill_between(
        at, series["low"], series["high"], color=FULL, alpha=0.25, lw=0, label="90 % band"
    )
    axes.plot(at, series["mean"], color=FULL, lw=1.2, label="full model")
    if "physics" in series:
        axes.plot(at, series["physics"], color=PHYSICS, ls="--", lw=1.2, label="physics alone")
    axes.plot(at, series["x"], "o", ms=2, color=DATA, label="data")


def _finish(figure: Figure, first: Axes, result: xr.Dataset, quantity: str, unit: str) -> None:
    axis = result["x"].dims[1]
    for axes in figure.axes:
        if axes.get_subplotspec().is_last_row():  # type: ignore[union-attr]
            axes.set_xlabel("time (s)" if axis == "time" else str(axis))
    figure.supylabel(labelled(quantity, unit), fontsize=9)
    headline(figure, _finding(result))
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _finding(result: xr.Dataset) -> str:
    share = 100 * result.attrs["band_coverage"]
    return f"Best to worst reconstruction; the 90 % bands hold {share:.0f} % of all samples"


def _plot_pictures(result: xr.Dataset, quantity: str, unit: str) -> Figure:
    picks = _picks(result, PICTURES)
    kinds = [k for k in ("x", "mean", "physics") if k in result]
    words = {"x": "data", "mean": "full model", "physics": "physics alone"}
    low, high = float(result["x"].min()), float(result["x"].max())
    with house_style():
        figure, grid = plt.subplots(
            len(picks), len(kinds), figsize=(6.0, 1.9 * len(picks) + 0.6), squeeze=False
        )
        for row, pick in zip(grid, picks, strict=True):
            for axes, kind in zip(row, kinds, strict=True):
                picture = result[kind].isel(observation=pick)
                shown = axes.imshow(_pixels(picture, low, high), vmin=low, vmax=high, aspect="auto")
                axes.grid(False)
                axes.set_xlabel(str(picture.dims[1]), fontsize=8)
            row[0].set_ylabel(f"observation {pick}\n{result['x'].dims[1]}", fontsize=8)
        for axes, kind in zip(grid[0], kinds, strict=True):
            axes.set_title(words[kind], fontsize=9)
        if result["x"].ndim < 4:
            figure.colorbar(shown, ax=grid, label=labelled(quantity, unit))
        headline(figure, _finding(result))
    return figure


def _pixels(picture: xr.DataArray, low: float, high: float) -> np.ndarray:
    """What ``imshow`` takes: three bands as colours on a common scale, else the bands' mean."""
    values = np.asarray(picture.values)
    if values.ndim < 3:
        return values
    if values.shape[-1] != 3:
        return np.asarray(values.mean(axis=-1))
    return np.clip((values - low) / max(high - low, 1e-12), 0, 1)
