"""Ranks of the truth among the posterior draws: histogram and ECDF difference."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import binom

from groundvae.diagnostics.latents import KnownLatent
from groundvae.diagnostics.score import placement
from groundvae.diagnostics.style import BAND, FULL, headline, house_style
from groundvae.diagnostics.uniformity import (
    FEWEST,
    compute_uniformity,
    departure,
    draw_difference,
    uniform_level,
)
from groundvae.diagnostics.verdict import Verdict, too_few, worded

BINS = 20


def compute_rank(latent: KnownLatent) -> xr.Dataset:
    """Normalised ranks (observation,), their histogram and their ECDF with its band.

    Sources: Talts et al. (2018) for the ranks, Saeilynoja et al. (2022) for the band.
    """
    ranks = placement(latent.draws, latent.truth)
    result = compute_uniformity(ranks)
    counts, edges = np.histogram(ranks, bins=BINS, range=(0, 1))
    result["rank"] = ("observation", ranks)
    result["count"] = ("bin", counts)
    result = result.assign_coords(bin=(edges[:-1] + edges[1:]) / 2)
    return result.assign_attrs(name=latent.name, unit=latent.unit)


def check_rank(result: xr.Dataset) -> Verdict:
    """Whether the truth is one of the draws, as far as its rank can tell."""
    n, value = result.attrs["observations"], result.attrs["deviation"]
    name = f"ranks of {result.attrs['name']}"
    if n < FEWEST:
        return too_few(name, n, FEWEST, result.attrs["limit"])
    level = uniform_level(result)
    how = departure(result)
    meaning = worded(
        level,
        good="The true values rank evenly among the draws: neither shifted nor too narrow.",
        doubtful=f"The posterior is somewhat {how}: fine for a look, not for a decision that "
        "rests on its tails.",
        bad=f"The posterior is {how}: do not use its intervals; compare residuals and penalties "
        "(shift), or mix several runs (width).",
    )
    return Verdict(name, level, meaning, value, result.attrs["limit"], n)


def plot_rank(result: xr.Dataset) -> Figure:
    """Histogram of the ranks, and their ECDF less the uniform's."""
    n = result.attrs["observations"]
    good = uniform_level(result) == "good"
    finding = "rank evenly among the draws" if good else f"show a posterior {departure(result)}"
    with house_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.1))
        low, high = binom.interval(0.99, n, 1 / BINS)
        left.axhspan(low, high, color=BAND, alpha=0.35, lw=0)
        left.bar(result["bin"], result["count"], width=0.9 / BINS, color=FULL)
        left.set_xlabel("rank of the truth (share of draws below it)")
        left.set_ylabel("observations")
        draw_difference(right, result)
        right.set_xlabel("rank of the truth")
        right.set_ylabel("ECDF - uniform")
        headline(
            figure,
            f"{result.attrs['name']}: {n} true values {finding}\n(grey: where calibrated stay)",
        )
    return figure
