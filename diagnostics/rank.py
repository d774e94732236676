"""Ranks of the truth among the posterior draws: histogram and ECDF difference.

A valley is too narrow, a hill too wide, a slope shifted. Misleads: a guide that returns the prior
passes; read it beside contraction. Sources: Talts et al. (2018) for the ranks, Saeilynoja et al.
(2022) for the band.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import binom

from groundvae.diagnostics.check import registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.latents import KnownLatent
from groundvae.diagnostics.score import placement
from groundvae.diagnostics.style import BAND, FULL
from groundvae.diagnostics.truth import TruthCheck
from groundvae.diagnostics.uniformity import (
    Uniformity,
    compute_uniformity,
    departure,
    draw_difference,
    uniform_level,
)
from groundvae.diagnostics.verdict import Level

BINS = 20
FAR = 0.16  # what ranks depart by where all is shifted by 0.4 standard deviations


def compute_rank(latent: KnownLatent) -> xr.Dataset:
    """Normalised ranks (observation,), their histogram (bin,) and their ECDF with its band."""
    ranks = placement(latent.draws, latent.truth)
    result = compute_uniformity(ranks)
    counts, edges = np.histogram(ranks, bins=BINS, range=(0, 1))
    result["rank"], result["count"] = ("observation", ranks), ("bin", counts)
    result = result.assign_coords(bin=(edges[:-1] + edges[1:]) / 2)
    return result.assign_attrs(latent=latent.name)


@registered
class Rank(Uniformity, TruthCheck):
    """Whether the truth is one of the draws, as far as its rank can tell."""

    name, subject = "rank", "ranks of {of}"
    alternative = "Histogram of the ranks of true {latent} and their distance from uniform."
    caption = (
        "A valley means too narrow, a hill too wide, a slope shifted. Right: inside the grey "
        "band is what calibrated posteriors show."
    )
    sentences = {
        "good": "The true values rank evenly among the draws: neither shifted nor too narrow.",
        "doubtful": "The posterior is somewhat {how}: fine for a look, not for a decision that "
        "rests on its tails.",
        "bad": "The posterior is {how}: do not use its intervals; compare residuals and penalties "
        "(shift), or mix several runs (width).",
    }
    size, columns = (6.4, 3.1), 2
    metric_words = {
        "{latent}_rank_deviation": "largest departure of the truth's ranks from uniform"
    }

    def compute(self, context: Context) -> xr.Dataset:
        return compute_rank(context.latent)

    def level(self, part: xr.Dataset, value: float) -> Level:
        shifted = departure(part) in ("too high", "too low")
        return uniform_level(part, FAR) if shifted else uniform_level(part)

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        n = result.attrs["observations"]
        good = self.calibrated(result)
        finding = "rank evenly among the draws" if good else f"show a posterior {departure(result)}"
        left, right = grid[0]
        low, high = binom.interval(0.99, n, 1 / BINS)
        left.axhspan(low, high, color=BAND, alpha=0.35, lw=0)
        left.bar(result["bin"], result["count"], width=0.9 / BINS, color=FULL)
        left.set(xlabel="rank of the truth (share of draws below it)", ylabel="observations")
        draw_difference(right, result, "rank of the truth")
        return f"{result.attrs['latent']}: {n} true values {finding}\n(grey: where calibrated stay)"
