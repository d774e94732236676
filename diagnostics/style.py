"""One look for all figures: readable in print and for colour-blind readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # figures go to files; no screen is needed
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from groundvae.data.atomic import replacing

# Okabe & Ito (2008): distinct under the common colour vision deficiencies, and in grey.
DATA, FULL, PHYSICS, TRUTH = "#000000", "#0072B2", "#D55E00", "#009E73"

SETTINGS: dict[Any, Any] = {
    "figure.dpi": 120,
    "savefig.dpi": 160,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
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
    """Write a figure in the format of its suffix, and free it."""
    with replacing(path) as temporary, house_style():
        figure.savefig(temporary)
    plt.close(figure)
