"""TARP: expected coverage of the joint posterior, by distances to random points.

The self-test's simulations, all latents together: it sees wrong correlations that the ranks of
single latents miss. Misleads: as self-calibration does; the prior passes; with many latents a
fault in one is diluted. Source: Lemos, Coogan, Hezaveh & Perreault-Levasseur (2023).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import LATENTS, Check, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.score import placement
from groundvae.diagnostics.uniformity import Uniformity, compute_uniformity, draw_difference
from groundvae.models.circle import difference


def compute_tarp(
    draws: Mapping[str, np.ndarray],
    truths: Mapping[str, np.ndarray],
    periods: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """ECDF of the credibility of the ball around a random point that reaches the truth.

    ``draws`` (draw, observation), ``truths`` (observation,), each latent in units of its
    posterior standard deviation. The random point may depend on the data; here it is the first
    draw, near which wrong widths and correlations show twice as well as near a draw of the prior.
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
    return a - b if period is None else difference(a, b, period)


@registered
class Tarp(Uniformity, Check):
    """Whether regions of the joint posterior hold as much as they claim."""

    name, title = "tarp", "Joint self-calibration"
    subject = "expected coverage of all latents together"
    alternative = "Expected coverage of regions of the joint posterior less their level."
    caption = (
        "As above, for all latents together: it sees wrong correlations that ranks of single "
        "latents miss."
    )
    needs = (LATENTS,)
    always = True
    sentences = {
        "good": "Regions of the joint posterior hold the simulated latents as often as they claim.",
        "bad": "Regions of the joint posterior hold too few or too many simulated latents: do not "
        "combine latents draw by draw (products, sums) without a full-rank or flow guide.",
    }
    metric_words = {
        "tarp_deviation": "largest departure of the joint posterior's expected coverage"
    }

    def compute(self, context: Context) -> xr.Dataset:
        test = context.self_test
        return compute_tarp(test.draws, test.truths, context.periods)

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        axes = grid[0, 0]
        draw_difference(axes, result, "credibility level", "expected coverage - level")
        good = "within" if self.calibrated(result) else "outside"
        return (
            f"All {result.attrs['latents']} latents together: {good} what "
            f"{result.attrs['observations']}\n"
            "calibrated simulations show (grey: 99.9 % of such guides)"
        )
