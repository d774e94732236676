"""Posterior predictive bands: do they hold the data as often as they claim?

``az.plot_ppc`` overlays the densities of all samples of all observations, in which bands that
are too narrow here and too wide there cancel; bands are compared sample by sample instead.
"""

from __future__ import annotations

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.score import placement
from groundvae.diagnostics.style import headline, house_style
from groundvae.diagnostics.uniformity import (
    compute_uniformity,
    draw_difference,
    uniform_level,
)
from groundvae.diagnostics.verdict import FEWEST, Verdict, too_few, worded


def compute_predictive(inference_data: az.InferenceData) -> xr.Dataset:
    """Share of samples inside the central bands of 20 levels, and each observation's at 90 %.

    The data are used twice, to infer and to check, so an exact posterior's bands hold a little
    more than they claim. Source: Gelman et al. (2013), chapter 6.
    """
    x = inference_data["observed_data"]["x"].values
    draws = np.concatenate(inference_data["posterior_predictive"]["x"].values)
    shares = np.concatenate(
        [placement(draws[:, i : i + 100], x[i : i + 100]) for i in range(0, len(x), 100)]
    )
    credibility = np.where(np.isfinite(x), np.abs(2 * shares - 1), np.nan)
    result = compute_uniformity(credibility, observations=len(x))
    with np.errstate(invalid="ignore"):
        inside = np.where(np.isnan(credibility), np.nan, credibility < 0.9)
    result["inside90"] = ("observation", np.nanmean(inside.reshape(len(x), -1), axis=1))
    excess = float((result["ecdf"] - result["level"]).mean())
    return result.assign_attrs(excess=excess, cov90=float(np.nanmean(inside)))


def check_predictive(result: xr.Dataset) -> Verdict:
    """Whether predictions may be used with their bands."""
    n, value = result.attrs["observations"], result.attrs["deviation"]
    name = "predictive bands"
    if n < FEWEST:
        return too_few(name, n, FEWEST, result.attrs["limit"])
    level = uniform_level(result)
    narrow = result.attrs["excess"] < 0
    if level == "bad" and not narrow and value <= 0.15:
        level = "doubtful"  # the double use of the data pushes in this direction
    meaning = worded(
        level,
        good="The predictive bands hold the data as often as they claim.",
        bad="The predictive bands are too narrow: the model misses structure in the data, so "
        "look at the worst reconstructions and at the residual."
        if narrow
        else "The predictive bands are wider than the data need: the noise scale is too large "
        "for most observations; fit longer, or let the noise differ.",
    )
    return Verdict(name, level, meaning, value, result.attrs["limit"], n)


def plot_predictive(result: xr.Dataset) -> Figure:
    """Coverage of the samples less its nominal level, and observations by their share inside."""
    with house_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.1))
        draw_difference(left, result)
        left.set_xlabel("level of the band")
        left.set_ylabel("coverage - level")
        right.hist(result["inside90"].values, bins=np.linspace(0, 1, 26))
        right.axvline(0.9, color="black", ls="--", lw=1)
        right.set_xlabel("samples inside the 90 % band")
        right.set_ylabel("observations")
        headline(
            figure,
            f"The 90 % bands hold {100 * result.attrs['cov90']:.0f} % of all samples\n"
            "(grey: 99.9 % of calibrated ones, one sample an observation)",
        )
    return figure
