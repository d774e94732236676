"""Reconstruction: data, full model with its 90 % band, and physics alone.

Misleads: the data were used to predict themselves, and a flexible residual reconstructs anything;
what physics alone does is the curve to look at. Source: Gabry et al. (2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from groundvae.diagnostics.check import PREDICTIVE, SAME_SHAPE, Check, registered
from groundvae.diagnostics.contactsheet import draw_image
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.score import explained, interval
from groundvae.diagnostics.style import (
    DATA,
    FULL,
    PHYSICS,
    choose,
    headline,
    house_style,
    labelled,
    panels,
    places,
    subplots,
)
from groundvae.inference import arviz as az

PANELS = 6
PICTURES = 4
IMAGES = 12
SERIES_CHANNELS = 4  # a second axis this short is channels of a series, not space
WORDS = {"x": "data", "mean": "full model", "physics": "physics alone", "residual": "residual"}
CHUNK = 100  # observations whose quantiles are taken at once


def compute_reconstruction(inference_data: az.InferenceData) -> xr.Dataset:
    """Mean and 90 % band of the prediction (observation, *event), and the mean of physics alone."""
    predictive = inference_data["posterior_predictive"]["x"]
    dims = predictive.dims[2:]
    draws = np.concatenate(predictive.values)
    parts = [interval(draws[:, i : i + CHUNK], 0.9) for i in range(0, draws.shape[1], CHUNK)]
    low, high = (np.concatenate(ends) for ends in zip(*parts, strict=True))
    x = inference_data["observed_data"]["x"].values
    variables = {"mean": (dims, draws.mean(axis=0)), "low": (dims, low), "high": (dims, high)}
    if "physics_predictive" in inference_data:
        physics = inference_data["physics_predictive"]["x"].mean(("chain", "draw")).values
        if physics.shape == low.shape:
            variables["physics"] = (dims, physics)
    coords = {d: predictive.coords[d] for d in dims if d in predictive.coords}
    result = xr.Dataset(variables, coords=coords)
    if x.shape == low.shape:
        result["x"] = (dims, x)
        inside = ((low <= x) & (x <= high))[~np.isnan(x)]
        result.attrs["predictive_cov90"] = float(inside.mean())
        axes = tuple(range(1, x.ndim))
        result["sse"] = (dims[:1], np.nansum((draws.mean(axis=0) - x) ** 2, axis=axes))
    return result


def reconstructed(context: Context) -> xr.Dataset:
    """``compute_reconstruction`` of the whole, for ``Context.once``."""
    result = compute_reconstruction(context.inference_data)
    return result.assign_attrs(quantity=context.quantity, unit=context.unit)


@registered
class Reconstruction(Check):
    """How much of an observation's variation the mean prediction reconstructs."""

    name, title, subject = "reconstruction", "Reconstruction", "reconstruction"
    alternative = (
        "Observed data of a few observations with the full model's mean, its 90 % band and the "
        "prediction of physics alone."
    )
    caption = (
        "From the best to the worst reconstructed observation. Where physics alone is far from "
        "the data, the residual explains the difference; trust the physics latents less there. "
        "These data were used to predict themselves, so their bands hold more than they would "
        "elsewhere; what that adds is taken off where predictive bands are judged."
    )
    needs = (PREDICTIVE, SAME_SHAPE)
    always = True
    good, doubtful = 0.9, 0.5  # share of an observation's variance, median
    sentences = {
        "good": "The model reconstructs what it sees.",
        "bad": "The model reconstructs {percent:.0f} % of an observation's variance: fit longer, "
        "or let the residual see more, before reading any latent.",
    }
    metric_words = {"predictive_cov90": "share of samples inside the 90 % band; 0.90 if calibrated"}

    def compute(self, context: Context) -> xr.Dataset:
        return context.once(reconstructed)

    def value(self, part: xr.Dataset) -> float:
        pairs = zip(part["x"].values, part["mean"].values, strict=True)
        found = np.array([explained(mean - x, x) for x, mean in pairs])
        known = found[~np.isnan(found)]  # of observations that vary
        return float(np.median(known)) if len(known) else np.nan

    @house_style()
    def plot(self, result: xr.Dataset) -> Figure:
        """Observations from the best to the worst reconstructed, at even ranks of their errors."""
        share = 100 * result.attrs["predictive_cov90"]
        finding = f"Best to worst reconstruction; the 90 % bands hold {share:.0f} % of all samples"
        order = np.argsort(result["sse"].values)
        return draw_observations(result, order[choose(len(order), most_drawn(result))], finding)


def most_drawn(result: xr.Dataset) -> int:
    """How many observations have a place in one figure."""
    kind = _kind(result)
    return PANELS if kind is _plot_series else IMAGES if kind is _plot_images else PICTURES


def draw_observations(result: xr.Dataset, picks: Sequence[int] | np.ndarray, found: str) -> Figure:
    """Chosen observations: data, prediction and physics alone; ``found`` is the headline.

    Series (with up to four channels) are drawn as lines, fields and images as pictures.
    """
    draw = _kind(result)
    figure: Figure = draw(result, [int(i) for i in picks])[0, 0].figure
    note = "\n(each row: data first; residual about grey)" if draw is _plot_images else ""
    headline(figure, found + note)
    return figure


def _kind(result: xr.Dataset) -> Callable[[xr.Dataset, Sequence[int]], np.ndarray]:
    events = result["x"].dims[1:]
    channels = len(events) == 2 and result.sizes[events[1]] <= SERIES_CHANNELS
    kinds = {1: _plot_series, 2: _plot_channels if channels else _plot_pictures}
    return kinds.get(len(events), _plot_images)


def _plot_series(result: xr.Dataset, picks: Sequence[int]) -> np.ndarray:
    grid = panels(len(picks), (3.1, 2.2), (0.4, 0.9), sharex=True)
    for axes, pick in zip(grid.flat, picks, strict=False):
        series = result.isel(observation=pick)
        _draw_lines(axes, series)
        axes.set_title(f"observation {pick}: SSE {float(series['sse']):.2g}", fontsize=8)
    _finish(grid, result)
    return grid


def _plot_channels(result: xr.Dataset, picks: Sequence[int]) -> np.ndarray:
    channel = result["x"].dims[2]
    count = result.sizes[channel]
    names = result[channel].values if channel in result.coords else range(count)
    size = (max(2.4 * count + 0.4, 5.2), 1.8 * len(picks) + 0.9)
    grid = subplots(len(picks), count, size, sharex=True)
    for row, pick in zip(grid, picks, strict=True):
        for axes, i in zip(row, range(count), strict=True):
            _draw_lines(axes, result.isel({"observation": pick, channel: i}))
        row[0].set_ylabel(f"observation {pick}", fontsize=8)
    for axes, name in zip(grid[0], names, strict=True):
        axes.set_title(f"{channel} {name}", fontsize=8)
    _finish(grid, result)
    return grid


def _draw_lines(axes: Axes, series: xr.Dataset) -> None:
    at, _ = places(series["x"])
    axes.fill_between(
        at, series["low"], series["high"], color=FULL, alpha=0.25, lw=0, label="90 % band"
    )
    axes.plot(at, series["mean"], color=FULL, lw=1.2, label="full model")
    if "physics" in series:
        axes.plot(at, series["physics"], color=PHYSICS, ls="--", lw=1.2, label="physics alone")
    axes.plot(at, series["x"], "o", ms=2, color=DATA, label="data")


def _finish(grid: np.ndarray, result: xr.Dataset) -> None:
    figure = grid[0, 0].figure
    for axes in grid[-1]:
        axes.set_xlabel(places(result["x"][0])[1])
    figure.supylabel(_label(result), fontsize=9)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _label(result: xr.Dataset) -> str:
    return labelled(result.attrs.get("quantity", "x"), result.attrs.get("unit", ""))


def _plot_pictures(result: xr.Dataset, picks: Sequence[int]) -> np.ndarray:
    """Fields (two axes): data, full model, physics alone, and the residual on its own scale."""
    kinds = [k for k in ("x", "mean", "physics") if k in result]
    low, high = float(result["x"].min()), float(result["x"].max())
    residual = _residual(result)
    most = max(float(np.abs(residual.isel(observation=picks)).max()), 1e-12)
    size = (1.9 * (len(kinds) + 1) + 1.2, 1.7 * len(picks) + 0.8)
    grid = subplots(len(picks), len(kinds) + 1, size, sharex=True, sharey=True)
    down, along = (places(part)[1] for part in (result["x"][0], result["x"][0].T))
    for row, pick in zip(grid, picks, strict=True):
        for axes, kind in zip(row, kinds, strict=False):
            shown = _draw_field(axes, result[kind].isel(observation=pick), (low, high))
        left = _draw_field(row[-1], residual.isel(observation=pick), (-most, most), "PuOr")
        sse = float(result["sse"][pick])
        row[0].set_ylabel(f"observation {pick}\nSSE {sse:.2g}\n{down}", fontsize=8)
    for axes, kind in zip(grid[0], [*kinds, "residual"], strict=True):
        axes.set_title(WORDS[kind], fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel(along, fontsize=8)
    grid[0, 0].figure.colorbar(shown, ax=grid[:, :-1], label=_label(result))
    grid[0, 0].figure.colorbar(left, ax=grid[:, -1:])
    return grid


def _draw_field(
    axes: Axes, field: xr.DataArray, scale: tuple[float, float], colours: str = "viridis"
) -> AxesImage:
    axes.grid(False)
    down, along = (places(part)[0] for part in (field, field.T))
    return axes.imshow(
        field.values,
        vmin=scale[0],
        vmax=scale[1],
        cmap=colours,
        aspect="auto",
        extent=(float(along[0]), float(along[-1]), float(down[-1]), float(down[0])),
    )


def _residual(result: xr.Dataset) -> xr.DataArray:
    """What the full model adds to physics alone; without physics, what it leaves of the data."""
    if "physics" in result:
        return result["mean"] - result["physics"]
    return result["x"] - result["mean"]


def _plot_images(result: xr.Dataset, picks: Sequence[int]) -> np.ndarray:
    """A contact sheet: data, full model, physics alone and residual, one row an observation."""
    kinds = [k for k in ("x", "mean", "physics") if k in result]
    low, high = min(0.0, float(result["x"].min())), float(result["x"].max())
    residual = _residual(result)
    most = 2 * max(float(np.quantile(np.abs(residual.values), 0.999)), 1e-12)
    columns = len(kinds) + 1
    halves = 2 if len(picks) > PICTURES else 1  # two blocks side by side
    rows = -(-len(picks) // halves)
    size = (1.05 * halves * columns + 0.4, 1.15 * rows + 0.8)
    grid = subplots(rows, halves * columns, size)
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
    return grid
