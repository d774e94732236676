"""TARP: expected coverage of the joint posterior, by distances to random points."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.score import circular_difference, placement
from groundvae.diagnostics.style import house_style
from groundvae.diagnostics.uniformity import (
    FEWEST,
    compute_uniformity,
    draw_difference,
    uniform_level,
)
from groundvae.diagnostics.verdict import Verdict, too_few, worded


def compute_tarp(
    draws: Mapping[str, np.ndarray],
    truths: Mapping[str, np.ndarray],
    periods: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """ECDF of the credibility of the ball around a random point that reaches the truth.

    ``draws`` (draw, observation), ``truths`` (observation,), each latent in units of its
    posterior standard deviation. Source: Lemos, Coogan, Hezaveh & Perreault-Levasseur (2023).
    The random point may depend on the data; here it is the first draw, near which wrong widths
    and correlations show twice as well as near a draw of the prior. The prior passes it.
    """
    near, far = np.zeros(1), np.zeros(1)
    for name, values in draws.items():
        period = (periods or {}).get(name)
        scale = np.maximum(values.std(axis=0), 1e-12)
        near = near + (_apart(truths[name], values[0], period) / scale) ** 2
        far = far + (_apart(values[1:], values[0], period) / scale) ** 2
    result = compute_uniformity(placement(np.asarray(far), np.asarray(near)))
    return result.assign_attrs(latents=len(draws))


def _apart(a: np.ndarray, b: np.ndarray, period: float | None) -> np.ndarray:
    return a - b if period is None else circular_difference(a, b, period)


def check_tarp(result: xr.Dataset) -> Verdict:
    """Whether regions of the joint posterior hold as much as they claim."""
    n, value = result.attrs["observations"], result.attrs["deviation"]
    name = "expected coverage of all latents together"
    if n < FEWEST:
        return too_few(name, n, FEWEST, result.attrs["limit"])
    level = uniform_level(result)
    meaning = worded(
        level,
        good="Regions of the joint posterior hold the simulated latents as often as they claim.",
        bad="Regions of the joint posterior hold too few or too many simulated latents: do not "
        "combine latents draw by draw (products, sums) without a full-rank or flow guide.",
    )
    return Verdict(name, level, meaning, value, result.attrs["limit"], n)


def plot_tarp(result: xr.Dataset) -> Figure:
    """Expected coverage less its nominal level."""
    latents, n = result.attrs["latents"], result.attrs["observations"]
    with house_style():
        figure, axes = plt.subplots(figsize=(5.2, 3.2))
        draw_difference(axes, result)
        axes.set_xlabel("credibility level")
        axes.set_ylabel("expected coverage - level")
        good = "within" if uniform_level(result) == "good" else "outside"
        axes.set_title(
            f"All {latents} latents together: {good} what {n}\n"
            "calibrated simulations show (grey: 99.9 % of such guides)"
        )
    return figure
