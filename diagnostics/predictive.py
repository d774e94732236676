"""Posterior predictive bands: do they hold the data as often as they claim?

``az.plot_ppc`` overlays the densities of all samples of all observations, in which bands that
are too narrow here and too wide there cancel; bands are compared sample by sample instead.
Misleads: the data are used twice; what that does is allowed for as in a normal model, on average
over an observation. Sources: Gelman et al. (2013), Bayesian Data Analysis, chapter 6;
Spiegelhalter et al. (2002), Bayesian measures of model complexity and fit.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.special import ndtr, ndtri

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
from groundvae.inference.prediction import RESIDUALS
from groundvae.models.noises.dependent import Dependent

WIDE = 0.15  # departure to the wide side that is forgiven: it harms no decision by much
MOST_USED = 0.9  # share of an observation's samples that its latents use up at most
ROUGH = 0.6  # of that share, above which what is allowed for is no more than a guess


def compute_predictive(
    inference_data: az.InferenceData, variance: np.ndarray | None = None
) -> xr.Dataset:
    """Share of samples inside the central bands of 20 levels, and each observation's at 90 %.

    The data are used twice, to infer and to check, so that the bands of an exact posterior hold
    more than they claim: of a normal model in which an observation's latents use up the share h of
    its samples, what is left is ``sqrt((1 - h) / (1 + h))`` times as wide as what is predicted.
    That much is allowed for, where ``double_use`` is known; of a noise that knows its neighbours,
    whose samples are used up together, by its ``variance`` of a sample, () or (channel,).
    """
    x = inference_data["observed_data"]["x"].values
    draws = np.concatenate(inference_data["posterior_predictive"]["x"].values)
    shares = np.concatenate(
        [placement(draws[:, i : i + 100], x[i : i + 100]) for i in range(0, len(x), 100)]
    )
    credibility = np.where(np.isfinite(x), np.abs(2 * shares - 1), np.nan)
    used = double_use(inference_data) if variance is None else used_up(draws, variance)
    if used is not None:
        widened = np.sqrt((1 + used) / (1 - used)).reshape(-1, *[1] * (x.ndim - 1))
        inside = np.clip(0.5 + 0.5 * credibility, None, 1 - 0.5 / (len(draws) + 1))
        credibility = 2 * ndtr(ndtri(inside) * widened) - 1
    result = compute_uniformity(credibility, observations=len(x))
    with np.errstate(invalid="ignore"):
        inside = np.where(np.isnan(credibility), np.nan, credibility < 0.9)
    result["inside90"] = ("observation", np.nanmean(inside.reshape(len(x), -1), axis=1))
    excess = float((result["ecdf"] - result["level"]).mean())
    share = 0.0 if used is None else float(np.median(used))
    return result.assign_attrs(excess=excess, cov90=float(np.nanmean(inside)), used=share)


def used_up(draws: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """How much wider predictions (draw, observation, *event) are than their noise, (observation,).

    In units of the noise's variance, the mean over all: the share h of a linear model.

    >>> noise = np.random.default_rng(0).normal(size=(500, 3, 40))
    >>> used_up(np.sqrt(1.2) * noise, np.array(1.0)).round(1)
    array([0.2, 0.2, 0.2])
    """
    share = float(np.nanmean(draws.var(0, ddof=1) / variance)) - 1.0
    return np.full(draws.shape[1], np.clip(share, 0.0, MOST_USED))


def double_use(inference_data: az.InferenceData) -> np.ndarray | None:
    """Share of an observation's samples that its latents use up, (observation,); None if unknown.

    Twice by how much the data are likelier about the middle of the draws than about draws, a
    sample: effective parameters, as of the DIC. Source: Spiegelhalter et al. (2002), section 2.3.
    """
    groups = inference_data.groups()
    if "log_likelihood" not in groups or RESIDUALS not in groups:
        return None
    likelihood = inference_data["log_likelihood"]["x"].astype(float)
    event = [d for d in likelihood.dims if d not in ("chain", "draw", "observation")]
    mean = likelihood.sum(event).mean(("chain", "draw"))  # what is missing is NaN, and left out
    middle = -inference_data[RESIDUALS]["misfit"].mean(("chain", "draw"))
    samples = likelihood.isel(chain=0, draw=0).count(event)
    used = 2 * (middle.values - mean.values) / np.maximum(samples.values, 1)
    return np.clip(np.nan_to_num(used), 0.0, MOST_USED)


@registered
class Predictive(Uniformity, Check):
    """Whether predictions may be used with their bands."""

    name, title, subject = "predictive", "Predictive bands", "predictive bands"
    alternative = (
        "Coverage of the predictive bands less their level, and a histogram of the share of each "
        "observation's samples inside the 90 % band."
    )
    caption = (
        "Below 0 the bands are too narrow. The data are used twice, to infer and to check; what "
        "that adds is taken off."
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
        noise = context.run.model.noise
        if not isinstance(noise, Dependent) or noise.independent:
            return compute_predictive(context.inference_data)
        variance = noise.channel_scale.detach().square().cpu().numpy()
        alone = variance if noise.has_channels else variance[0]
        return compute_predictive(context.inference_data, alone)

    def level(self, part: xr.Dataset, value: float) -> Level:
        level = uniform_level(part)
        excused = part.attrs["excess"] >= 0 and (value <= WIDE or part.attrs["used"] > ROUGH)
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
