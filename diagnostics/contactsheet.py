"""Contact sheets: many images on one page."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groundvae.diagnostics.style import headline, house_style, subplots

COLUMNS = 8
SHOWN = 64  # more are too small to see


@house_style()
def plot_contact_sheet(images: np.ndarray, title: str) -> Figure:
    """Images (image, row, column, band) in 0 .. 1, row by row; what is beyond is cut off."""
    shown = images[:SHOWN]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    size = (max(1.1 * columns, 5.2), 1.1 * rows + 0.5)
    grid = subplots(rows, columns, size)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image in zip(grid.flat, shown, strict=False):
        draw_image(axes, image)
    figure: Figure = grid[0, 0].figure
    headline(figure, title)
    return figure


def draw_image(axes: Axes, image: np.ndarray) -> None:
    """One image (row, column, band) in its own colours, or in grey if it has not three bands."""
    axes.set_axis_off()
    pixels = np.clip(np.nan_to_num(image), 0, 1)
    if pixels.shape[-1] != 3:
        pixels = pixels.mean(axis=-1)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
