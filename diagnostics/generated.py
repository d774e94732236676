"""What a model made up, to look at: contact sheets of images and fields, fans of curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from groundvae.diagnostics.contactsheet import COLUMNS, SHOWN, plot_contact_sheet
from groundvae.diagnostics.style import FULL, headline, house_style, labelled, places, subplots
from groundvae.inference import arviz as az
from groundvae.inference.run import Run

CURVES = 60  # that can be told apart in one panel
COLOURS = "viridis"


@dataclass(frozen=True)
class Along:
    """A latent that was varied: its name, its unit, its values (draw,)."""

    name: str
    unit: str
    values: np.ndarray

    @property
    def shown(self) -> str:
        """The unit, where it has one."""
        return self.unit if self.unit != "1" else ""


def plot_generated(
    run: Run, made: az.InferenceData, what: str, along: Along | None = None
) -> Figure:
    """Noiseless observations; ``what`` they are becomes the title."""
    x = made["noiseless"]["x"].isel(chain=0)
    system = run.model.system
    if along is not None:
        ends = f"{along.values[0]:.3g} to {along.values[-1]:.3g}"
        what += f", {labelled(along.name, along.shown)} from {ends}"
    if x.ndim == 4:
        return plot_contact_sheet(x.values, what)
    if x.ndim == 3 and x.dims[2] not in system.labels:
        return _fields(x, what, labelled(system.quantity, system.unit), along)
    return _fan(x, what, labelled(system.quantity, system.unit), along)


@house_style()
def _fan(x: xr.DataArray, what: str, quantity: str, along: Along | None) -> Figure:
    """Curves over time (draw, time) or (draw, time, channel), each channel in its panel."""
    shown = x.isel(draw=slice(CURVES))
    channels = shown.values.reshape(*shown.shape[:2], -1)
    count = channels.shape[2]
    grid = subplots(1, count, (max(5.2, 2.9 * count + 0.6), 3.4), sharex=True)
    at, label = places(shown.isel(draw=0))
    colour = _colours(along, len(shown))
    for i, axes in enumerate(grid[0]):
        for curve, each in zip(channels[..., i], colour, strict=True):
            axes.plot(at, curve, color=each, lw=1.0, alpha=0.9 if along else 0.4)
        axes.set_xlabel(label)
        if count > 1:
            axes.set_title(str(shown[shown.dims[2]].values[i]))
    grid[0, 0].set_ylabel(quantity)
    figure: Figure = grid[0, 0].figure
    if along is not None:
        _scale(figure, grid, along)
    headline(figure, what)
    return figure


@house_style()
def _fields(x: xr.DataArray, what: str, quantity: str, along: Along | None) -> Figure:
    """Fields (draw, time, place), one panel each."""
    shown = x.isel(draw=slice(SHOWN if along is None else COLUMNS))
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    size = max(5.2, 1.3 * columns + 0.8), 1.5 * rows + 0.6
    grid = subplots(rows, columns, size, sharex=True, sharey=True)
    (time, across), (over, along_axis) = places(x[0]), places(x[0].T)
    low, high = float(shown.min()), float(shown.max())
    for i, axes in enumerate(grid.flat):
        if i >= len(shown):
            axes.set_visible(False)
            continue
        image = axes.pcolormesh(
            time, over, shown[i].values.T, vmin=low, vmax=high, cmap="cividis", rasterized=True
        )
        axes.grid(False)
        if along is not None:
            axes.set_title(f"{along.values[i]:.3g}")
    for axes in grid[-1]:
        axes.set_xlabel(across)
    for axes in grid[:, 0]:
        axes.set_ylabel(along_axis)
    figure: Figure = grid[0, 0].figure
    figure.colorbar(image, ax=grid, label=quantity)
    headline(figure, what)
    return figure


def _colours(along: Along | None, count: int) -> list[Any]:
    if along is None:
        return [FULL] * count
    norm = Normalize(along.values.min(), along.values.max())
    return [mpl.colormaps[COLOURS](norm(v)) for v in along.values[:count]]


def _scale(figure: Figure, grid: np.ndarray, along: Along) -> None:
    norm = Normalize(along.values.min(), along.values.max())
    mappable = mpl.cm.ScalarMappable(norm, COLOURS)
    figure.colorbar(mappable, ax=grid, label=labelled(along.name, along.shown))
