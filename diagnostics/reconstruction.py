"""Reconstruction: data, full model with its 90 % band, and physics alone."""

from __future__ import annotations

from collections.abc import Hashable

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from groundvae.diagnostics.contactsheet import draw_image
from groundvae.diagnostics.score import explained, interval
from groundvae.diagnostics.style import DATA, FULL, PHYSICS, headline, house_style, labelled
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded

GOOD, DOUBTFUL = 0.9, 0.5  # share of an observation's variance, median
PANELS = 6
PICTURES = 4
IMAGES = 12
SERIES_CHANNELS = 4  # a second axis this short is channels of a series, not space
WORDS = {"x": "data", "mean": "full model", "physics": "physics alone", "residual": "residual"}
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


def check_reconstruction(result: xr.Dataset) -> Verdict:
    """How much of an observation's variation the mean prediction reconstructs."""
    n = result.sizes["observation"]
    if n < FEWEST:
        return too_few("reconstruction", n, FEWEST, GOOD)
    x, mean = result["x"].values, result["mean"].values
    value = float(np.nanmedian([explained(m - y, y) for m, y in zip(mean, x, strict=True)]))
    level = grade(value, GOOD, DOUBTFUL)
    meaning = worded(
        level,
        good="The model reconstructs what it sees.",
        bad=f"The model reconstructs {100 * value:.0f} % of an observation's variance: fit longer, "
        "or let the residual see more, before reading any latent.",
    )
    return Verdict("reconstruction", level, meaning, value, GOOD, n)


def plot_reconstruction(result: xr.Dataset, quantity: str, unit: str) -> Figure:
    """Observations from the best to the worst reconstructed, at even ranks of their errors.

    Series (with up to four channels) are drawn as lines, fields and images as pictures.
    """
    events = result["x"].dims[1:]
    if len(events) == 1:
        return _plot_series(result, quantity, unit)
    if len(events) == 2 and result.sizes[events[1]] <= SERIES_CHANNELS:
        return _plot_channels(result, quantity, unit)
    if len(events) == 3:
        return _plot_images(result)
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
    """Fields (two axes): data, full model, physics alone, and the residual on its own scale."""
    picks = _picks(result, PICTURES)
    kinds = [k for k in ("x", "mean", "physics") if k in result]
    low, high = float(result["x"].min()), float(result["x"].max())
    residual = _residual(result)
    most = max(float(np.abs(residual.isel(observation=picks)).max()), 1e-12)
    with house_style():
        figure, grid = plt.subplots(
            len(picks),
            len(kinds) + 1,
            figsize=(1.9 * (len(kinds) + 1) + 1.2, 1.7 * len(picks) + 0.8),
            sharex=True,
            sharey=True,
            squeeze=False,
        )
        for row, pick in zip(grid, picks, strict=True):
            for axes, kind in zip(row, kinds, strict=False):
                shown = _draw_field(axes, result[kind].isel(observation=pick), (low, high))
            left = _draw_field(row[-1], residual.isel(observation=pick), (-most, most), "PuOr")
            sse = float(result["sse"][pick])
            row[0].set_ylabel(f"observation {pick}\nSSE {sse:.2g}\n{_axis(result, 1)}", fontsize=8)
        for axes, kind in zip(grid[0], [*kinds, "residual"], strict=True):
            axes.set_title(WORDS[kind], fontsize=9)
        for axes in grid[-1]:
            axes.set_xlabel(_axis(result, 2), fontsize=8)
        figure.colorbar(shown, ax=grid[:, :-1], label=labelled(quantity, unit))
        figure.colorbar(left, ax=grid[:, -1:])
        headline(figure, _finding(result))
    return figure


def _draw_field(
    axes: Axes, field: xr.DataArray, scale: tuple[float, float], colours: str = "viridis"
) -> AxesImage:
    axes.grid(False)
    ends = [_ends(field, dim) for dim in (field.dims[1], field.dims[0])]
    return axes.imshow(
        field.values,
        vmin=scale[0],
        vmax=scale[1],
        cmap=colours,
        aspect="auto",
        extent=(*ends[0], *ends[1][::-1]),
    )


def _ends(field: xr.DataArray, dim: Hashable) -> tuple[float, float]:
    """First and last coordinate along an axis, or its first and last index."""
    at = field[dim].values if dim in field.coords else np.arange(field.sizes[dim])
    return float(at[0]), float(at[-1])


def _axis(result: xr.Dataset, place: int) -> str:
    name = str(result["x"].dims[place])
    return {"time": "time (s)", "space": "place (m)"}.get(name, name)


def _residual(result: xr.Dataset) -> xr.DataArray:
    """What the full model adds to physics alone; without physics, what it leaves of the data."""
    if "physics" in result:
        return result["mean"] - result["physics"]
    return result["x"] - result["mean"]


def _plot_images(result: xr.Dataset) -> Figure:
    """A contact sheet: data, full model, physics alone and residual, one row an observation."""
    picks = _picks(result, IMAGES)
    kinds = [k for k in ("x", "mean", "physics") if k in result]
    low, high = min(0.0, float(result["x"].min())), float(result["x"].max())
    residual = _residual(result)
    most = 2 * max(float(np.quantile(np.abs(residual.values), 0.999)), 1e-12)
    columns = len(kinds) + 1
    halves = 2 if len(picks) > PICTURES else 1  # two blocks side by side
    rows = -(-len(picks) // halves)
    with house_style():
        figure, grid = plt.subplots(
            rows,
            halves * columns,
            figsize=(1.05 * halves * columns + 0.4, 1.15 * rows + 0.8),
            squeeze=False,
        )
        for axes in grid.flat:
            axes.set_axis_off()
        for i, pick in enumerate(picks):
            start = columns * (i // rows)
            block = grid[i % rows, start : start + columns]
            for axes, kind in zip(block, kinds, strict=False):
                draw_image(axes, (result[kind][pick].values - low) / max(high - low, 1e-12))
            draw_image(block[-1], 0.5 + residual[pick].values / most)
            block[0].set_title(f"{pick}: SSE {float(result['sse'][pick]):.2g}", fontsize=7)
            if i % rows == 0:
                for axes, kind in zip(block[1:], [*kinds[1:], "residual"], strict=True):
                    axes.set_title(WORDS[kind], fontsize=7)
        headline(figure, f"{_finding(result)}\n(each row: data first; residual about grey)")
    return figure
