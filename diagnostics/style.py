"""One look for all figures: readable in print and for colour-blind readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from groundvae.data.atomic import replacing

# Okabe & Ito (2008): distinct under the common colour vision deficiencies, and in grey.
DATA, FULL, PHYSICS, TRUTH = "#000000", "#0072B2", "#D55E00", "#009E73"
BAND, OTHER = "#999999", "#CC79A7"
CYCLE = (FULL, PHYSICS, TRUTH, OTHER, "#E69F00", "#56B4E9", DATA)

SETTINGS: dict[Any, Any] = {
    "figure.dpi": 120,
    "savefig.dpi": 160,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=CYCLE),
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "groundvae",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw figures in the project's style; ``@house_style()`` does so for a whole function."""
    with mpl.rc_context(SETTINGS):
        yield


def subplots(rows: int, columns: int, size: tuple[float, float], **options: Any) -> np.ndarray:
    """Axes (row, column) of a new figure (inches), known to no window and to no backend."""
    grid: np.ndarray = Figure(figsize=size).subplots(rows, columns, squeeze=False, **options)
    return grid


def panels(
    count: int, size: tuple[float, float], around: tuple[float, float] = (0, 0), **options: Any
) -> np.ndarray:
    """Axes (row, column) of ``count`` panels of one size (inches), three to a row at most."""
    columns = min(3, count)
    rows = -(-count // columns)
    whole = max(5.2, size[0] * columns + around[0]), size[1] * rows + around[1]
    grid = subplots(rows, columns, whole, **options)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return grid


def choose(observations: int, count: int) -> np.ndarray:
    """Positions of at most ``count`` observations, (observation,), evenly over all.

    >>> choose(9, 3)
    array([0, 4, 8])
    """
    return np.linspace(0, observations - 1, min(count, observations)).astype(int)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and, beside it, SVG; free it."""
    with house_style():
        figure.set_dpi(mpl.rcParams["savefig.dpi"])
        # Canvases draw once; ``savefig`` draws twice and finds the layout anew each time.
        with replacing(path) as temporary:
            FigureCanvasAgg(figure).print_png(temporary)
        figure.set_layout_engine("none")  # it stands
        with replacing(path.with_suffix(".svg")) as temporary:
            FigureCanvasSVG(figure).print_svg(temporary)
    plt.close(figure)


def headline(figure: Figure, text: str) -> None:
    """The finding, above all panels and flush left like the titles of single ones."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=10)


def labelled(name: str, unit: str) -> str:
    """A quantity with its unit, where it has one.

    >>> labelled("omega", "rad/s"), labelled("eccentricity", "")
    ('omega (rad/s)', 'eccentricity')
    """
    return f"{name} ({unit})" if unit else name


def places(values: xr.DataArray) -> tuple[np.ndarray, str]:
    """Where the samples along the first axis are (sample,), and what that axis is called."""
    axis = values.dims[0]
    at = values[axis].values if axis in values.coords else np.arange(values.sizes[axis])
    unit = values[axis].attrs.get("units", "s") if axis in values.coords else "s"
    names = {"time": labelled("time", unit), "space": "place (m)"}
    return at, names.get(str(axis), str(axis))
