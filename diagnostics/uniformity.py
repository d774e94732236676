"""Uniformity: what calibration comes down to, tested against a simultaneous band.

Ranks, probability integral transforms and credibility levels are all uniform on (0, 1) where a
posterior is right. The band comes from ArviZ. ``az.plot_ecdf`` draws them without saying
what it found; here figure and verdict share one band, at 20 levels and kept for reuse. Source:
Saeilynoja, Buerkner & Vehtari (2022),
"Graphical test for discrete uniformity and its applications in goodness-of-fit evaluation and
multiple sample comparison".
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from groundvae.diagnostics.style import BAND, FULL
from groundvae.diagnostics.verdict import Criterion, Level
from groundvae.inference import arviz as az

LEVELS = np.append(np.linspace(0.05, 0.95, 19), 0.99)
SURE = 0.999
"""Probability that a calibrated posterior stays inside the band everywhere: a report holds some
twenty bands, and a false alarm should be rare among all of them."""
SMALL, LARGE = 0.03, 0.10
"""Departures of the ECDF that do not matter in practice, and that always do."""
FEWEST = 50
LARGEST = 5000
"""Observations beyond which the band, wider than needed then, is the one for so many."""


def compute_uniformity(values: np.ndarray, observations: int | None = None) -> xr.Dataset:
    """ECDF of ``values`` (any shape, NaN left out) at 20 levels, and its simultaneous band.

    ``observations``: how many of the values count as independent (default: all). Attributes:
    ``deviation`` from uniform; ``limit``, the band's width at its widest or, where the ECDF
    leaves it, at the level where it does most.

    >>> result = compute_uniformity((np.arange(200) + 0.5) / 200)
    >>> bool(result.attrs["deviation"] < 0.01), result.attrs["outside"]
    (True, 0)
    """
    kept = np.sort(values[np.isfinite(values)])
    n = len(kept) if observations is None else observations
    below = np.searchsorted(kept, LEVELS, side="right")
    ecdf = below / len(kept) if len(kept) else np.full(len(LEVELS), np.nan)
    low, high = band(min(n, LARGEST)) if n > 1 else (0 * LEVELS, 0 * LEVELS + 1)
    outside = (ecdf < low) | (ecdf > high)
    margin = np.maximum(np.where(ecdf > LEVELS, high - LEVELS, LEVELS - low), 1e-12)
    widest = float((high - low).max() / 2)
    worst = int(np.argmax(np.abs(ecdf - LEVELS) / margin))
    attrs = {
        "observations": n,
        "deviation": float(np.abs(ecdf - LEVELS).max()),
        "outside": int(outside.sum()),
        "limit": max(SMALL, float(margin[worst]) if outside.any() else widest),
        "widest": widest,
        "mean": float(kept.mean()) if len(kept) else np.nan,
        "spread": float(kept.std() * np.sqrt(12)) if len(kept) else np.nan,
    }
    variables = {"ecdf": ecdf, "low": low, "high": high}
    return xr.Dataset(
        {name: ("level", value) for name, value in variables.items()}, {"level": LEVELS}, attrs
    )


@lru_cache(maxsize=32)
def band(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Simultaneous band of the ECDF of ``n`` uniform values."""
    return az.ecdf_band(n, LEVELS, SURE)


def uniform_level(result: xr.Dataset, large: float = LARGE) -> Level:
    """Good inside the band or next to it; bad outside it by more than ``large``."""
    if not result.attrs["outside"] or result.attrs["deviation"] <= SMALL:
        return "good"
    return "doubtful" if result.attrs["deviation"] <= large else "bad"


class Uniformity(Criterion):
    """The criterion of results that ``compute_uniformity`` gave; ``{how}`` is the departure."""

    fewest, measured = FEWEST, "deviation"

    def level(self, part: xr.Dataset, value: float) -> Level:
        return uniform_level(part)

    def words(self, part: xr.Dataset) -> dict[str, object]:
        return {"how": departure(part)}

    def calibrated(self, part: xr.Dataset) -> bool:
        """Whether nothing departs."""
        return uniform_level(part) == "good"


def departure(result: xr.Dataset) -> str:
    """How ranks of the truth depart from uniform, in words.

    >>> departure(compute_uniformity(np.repeat([0.01, 0.99], 100)))
    'too narrow'
    >>> departure(compute_uniformity(np.full(100, 0.9)))
    'too low'
    """
    shift = 12**0.5 * (result.attrs["mean"] - 0.5)  # in standard deviations of a uniform
    spread = result.attrs["spread"] - 1
    if abs(shift) > abs(spread):
        return "too low" if shift > 0 else "too high"
    return "too narrow" if spread > 0 else "too wide"


def draw_difference(axes: Axes, result: xr.Dataset, of: str, name: str = "ECDF - uniform") -> None:
    """The ECDF less the uniform's, over its band; a flat line at 0 is best."""
    draw_band(axes, result)
    draw_line(axes, result)
    axes.set(xlabel=of, ylabel=name)


def draw_band(axes: Axes, result: xr.Dataset) -> None:
    """Where a calibrated line stays."""
    axes.fill_between(
        _edges(result["level"].values, 1.0),
        _edges(result["low"].values - result["level"].values),
        _edges(result["high"].values - result["level"].values),
        color=BAND,
        alpha=0.35,
        lw=0,
        zorder=1,
    )
    axes.axhline(0, color="0.4", lw=0.8)
    axes.set_xlim(0, 1)


def draw_line(
    axes: Axes, result: xr.Dataset, color: str = FULL, label: str = "", *, faint: bool = False
) -> None:
    """The ECDF less the uniform's; ``faint``: one of many, behind the others."""
    level = result["level"].values
    axes.plot(
        _edges(level, 1.0),
        _edges(result["ecdf"].values - level),
        "-" if faint else "o-",
        ms=2.5,
        lw=0.6 if faint else 1.3,
        alpha=0.6 if faint else 1.0,
        color=color,
        label=label or None,
        zorder=2 if faint else 3,
    )


def _edges(inner: np.ndarray, last: float = 0.0) -> np.ndarray:
    return np.concatenate([[0.0], inner, [last]])
