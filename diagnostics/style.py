"""One look for all figures: readable in print and for colour-blind readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler

matplotlib.use("Agg")  # figures go to files; no screen is needed
import matplotlib.pyplot as plt
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
    """Draw figures in the project's style."""
    with plt.rc_context(SETTINGS):
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and, beside it, SVG; free it."""
    with house_style():
        for each in (path, path.with_suffix(".svg")):
            with replacing(each) as temporary:
                figure.savefig(temporary)
            figure.set_layout_engine("none")  # the layout stands; finding it takes half the time
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
