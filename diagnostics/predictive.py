"""Posterior predictive bands: do they hold the data as often as they claim?

``az.plot_ppc`` overlays the densities of all samples of all observations, in which bands that
are too narrow here and too wide there cancel; bands are compared sample by sample instead.
Misleads: the data are used twice, so a right model lies a little above the line. Source: Gelman
et al. (2013), Bayesian Data Analysis, chapter 6.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import PREDICTIVE, Check, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.score import placement
from groundvae.diagnostics.uniformity import (
    Uniformity,
    compute_uniformity,
    draw_difference,
    uniform_level,
)
from groundvae.diagnostics.verdict import FEWEST, Level
from groundvae.inference import arviz as az

WIDE = 0.15  # departure to the wide side that the double use of the data can explain


def compute_predictive(inference_data: az.InferenceData) -> xr.Dataset:
    """Share of samples inside the central bands of 20 levels, and each observation's at 90 %.

    The data are used twice, to infer and to check, so an exact posterior's bands hold a little
    more than they claim.
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


@registered
class Predictive(Uniformity, Check):
    """Whether predictions may be used with their bands."""

    name, title, subject = "predictive", "Predictive bands", "predictive bands"
    alternative = (
        "Coverage of the predictive bands less their level, and a histogram of the share of each "
        "observation's samples inside the 90 % band."
    )
    caption = (
        "Below 0 the bands are too narrow. The data are used twice, so a right model lies a "
        "little above."
    )
    needs = (PREDICTIVE,)
    fewest = FEWEST
    sentences = {
        "good": "The predictive bands hold the data as often as they claim.",
        "bad": "The predictive bands are too narrow: the model misses structure in the data, so "
        "look at the worst reconstructions and at the residual.",
        "wide": "The predictive bands are wider than the data need: the noise scale is too large "
        "for most observations; fit longer, or let the noise differ.",
    }
    size, columns = (6.4, 3.1), 2
    metric_words = {
        "predictive_deviation": "largest departure of the bands' coverage from their level"
    }

    def compute(self, context: Context) -> xr.Dataset:
        return compute_predictive(context.inference_data)

    def level(self, part: xr.Dataset, value: float) -> Level:
        level = uniform_level(part)
        excused = part.attrs["excess"] >= 0 and value <= WIDE
        return "doubtful" if level == "bad" and excused else level

    def case(self, part: xr.Dataset, level: Level) -> str:
        return level if level == "good" or part.attrs["excess"] < 0 else "wide"

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        left, right = grid[0]
        draw_difference(left, result, "level of the band", "coverage - level")
        right.hist(result["inside90"].values, bins=np.linspace(0, 1, 26))
        right.axvline(0.9, color="black", ls="--", lw=1)
        right.set(xlabel="samples inside the 90 % band", ylabel="observations")
        return (
            f"The 90 % bands hold {100 * result.attrs['cov90']:.0f} % of all samples\n"
            "(grey: 99.9 % of calibrated ones, one sample an observation)"
        )
