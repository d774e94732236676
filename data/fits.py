"""Images of galaxies from FITS files: three bands, counts, and where north is.

Needs astropy (the extra ``fits``). Bands are a cube (band, row, column) or three images of one
size, each an extension of its own; reddest first, as in ``galaxy.BANDS``. Larger images are cut to
their middle. Counts are stretched as pictures are, ``asinh``, so that faint light shows and cores
do not drown it. Source: Lupton et al. (2004), PASP 116:133.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from groundvae.data.errors import InputError

BEND = 0.1  # of the brightest light, below which the stretch is straight
BRIGHTEST = 99.8  # percentile of an image that is drawn as 1
STEP = 1e-4  # degrees towards north, and east, in which directions are taken


def read_fits(path: Path, side: int, bands: int) -> tuple[np.ndarray, float, float]:
    """An image (row, column, band), its first row the top; NaN: missing.

    Returns:
        The image, brightest about 1; the direction of north, counter-clockwise from the right
        (rad); and 1 where east is counter-clockwise of north, as in the sky, -1 in a mirror. The
        last two are NaN where the header has no world coordinates.

    Raises:
        InputError: no astropy, not such a file, other bands, or an image smaller than ``side``.

    """
    try:
        from astropy.io import fits
    except ImportError as error:
        raise InputError(
            f"{path}: FITS files need astropy, expected `pip install groundvae[fits]`"
        ) from error
    try:
        with warnings.catch_warnings(), fits.open(path, memmap=False) as content:
            warnings.simplefilter("ignore")  # of headers that are not quite to the letter
            images = [u for u in content if getattr(u, "is_image", False) and u.data is not None]
            planes = [plane for unit in images for plane in _planes(unit.data)]
            header = images[0].header if images else None
    except Exception as error:  # a damaged file can make the reader fail in any way
        raise InputError(f"{path}: cannot be read as a FITS file") from error
    if len(planes) != bands or len({plane.shape for plane in planes}) != 1:
        shapes = ", ".join(" by ".join(map(str, plane.shape)) for plane in planes) or "none"
        raise InputError(f"{path}: holds images {shapes}, expected {bands} bands of one size")
    rows, columns = planes[0].shape
    if min(rows, columns) < side:
        raise InputError(f"{path}: is {columns} by {rows} pixels, expected {side} by {side}")
    top, left = (rows - side) // 2, (columns - side) // 2
    cut = np.stack(planes, -1)[top : top + side, left : left + side].astype(float)
    centre = (left + (side - 1) / 2, top + (side - 1) / 2)
    return _stretched(cut, path)[::-1], *_north(header, centre)


def east_of_north(position_angle: np.ndarray, north: np.ndarray, parity: np.ndarray) -> np.ndarray:
    """Angles (..., image) of axes, counter-clockwise from the right, as astronomers give them.

    ``north`` and ``parity`` (image,) as ``read_fits`` gives them; all in rad, within 0 .. pi.

    >>> float(east_of_north(np.array(0.75 * math.pi), np.array(math.pi / 2), np.array(1.0)))
    0.7853981633974483
    """
    return np.asarray(parity * (position_angle - north) % math.pi)


def _planes(data: Any) -> list[np.ndarray]:
    """Single images (row, column) of one extension; axes of length one do not count."""
    array = np.asarray(data)
    array = array.reshape([size for size in array.shape if size > 1])
    return [array] if array.ndim == 2 else list(array) if array.ndim == 3 else []


def _stretched(counts: np.ndarray, path: Path) -> np.ndarray:
    """Counts (row, column, band) less those of the sky, bent, the brightest at 1."""
    counts = np.where(np.isfinite(counts), counts, np.nan)
    if np.isnan(counts).all():
        raise InputError(f"{path}: holds no finite counts")
    counts = counts - np.nanmedian(counts, axis=(0, 1))
    brightest = float(np.nanpercentile(counts, BRIGHTEST))
    if not brightest > 0:
        raise InputError(f"{path}: is as bright everywhere, expected a galaxy on a sky")
    bent = np.arcsinh(counts / (BEND * brightest)) / math.asinh(1 / BEND)
    return np.asarray(bent, dtype=np.float32)


def _north(header: Any, centre: tuple[float, float]) -> tuple[float, float]:
    """Direction of north at ``centre`` (column, row from the bottom), and the side east is on."""
    from astropy.wcs import WCS

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            world = WCS(header).celestial
            if not world.has_celestial:
                return math.nan, math.nan
            right, up = (float(v) for v in world.wcs_pix2world(*centre, 0))
            away = STEP / max(math.cos(math.radians(up)), STEP)
            there = world.wcs_world2pix([right, right + away], [up + STEP, up], 0)
    except Exception:  # a header without a usable transformation
        return math.nan, math.nan
    (x, x_east), (y, y_east) = (np.asarray(v) - c for v, c in zip(there, centre, strict=True))
    return math.atan2(y, x), float(np.sign(x * y_east - y * x_east))
