"""Z-score against contraction: is the posterior off, and did the data inform it?

Right and within 2 is best; right and far out is confident and wrong. The check tests the mean.
Misleads: opposite biases in two groups cancel in the mean, not in the figure. Source: Schad,
Betancourt & Vasishth (2021), section 4.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.ticker import NullFormatter
from scipy.stats import norm

from groundvae.diagnostics.check import registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.latents import KnownLatent
from groundvae.diagnostics.score import contraction
from groundvae.diagnostics.style import BAND, FULL
from groundvae.diagnostics.truth import TruthCheck
from groundvae.diagnostics.verdict import Level, grade

HALF = 1.645  # standard deviations of a 90 % interval on each side
CERTAIN = 3.29  # standard errors: 99.9 %, as for the bands, since a report holds many checks


def compute_zscore(latent: KnownLatent, prior_variance: float) -> xr.Dataset:
    """Z-scores of the truth, ``(posterior mean - truth) / posterior sd``, and contraction.

    Both (observation,); ``bias``, its standard ``error`` and ``rms`` in the attributes.
    """
    spread = latent.draws.std(axis=0)
    off = latent.draws.mean(axis=0) - latent.truth
    zscore = np.divide(off, spread, out=np.full_like(off, np.nan), where=spread > 0)
    kept = zscore[np.isfinite(zscore)]
    n = len(kept)
    attrs = {
        "latent": latent.name,
        "observations": n,
        "bias": float(kept.mean()) if n else np.nan,
        "error": float(kept.std() / np.sqrt(n)) if n else np.nan,
        "zscore_rms": float(np.sqrt((kept**2).mean())) if n else np.nan,
    }
    variables = {"zscore": zscore, "contraction": contraction(latent.draws, prior_variance)}
    return xr.Dataset({k: ("observation", v) for k, v in variables.items()}, attrs=attrs)


@registered
class ZScore(TruthCheck):
    """Whether the posterior is shifted on the whole, in posterior standard deviations."""

    name, subject = "zscore", "bias of {of}"
    alternative = "Z-score of true {latent} against the contraction of its posterior."
    caption = (
        "Right and near 0 is best. Far from 0: confident and wrong. Left, where little of the "
        "prior is ruled out: the data say little about it."
    )
    good, doubtful = 0.1, 0.4  # of a posterior standard deviation; 90 % then hold 0.87
    measured = "bias"
    sentences = {
        "good": "On the whole the posterior is neither too high nor too low.",
        "bad": "The posterior is too {side} by {size:.2g} of its standard deviations on average: "
        "if nothing else is wrong its 90 % intervals hold {held:.0f} %, but one-sided statements "
        "and means over observations are off by that; look at what is assumed of the residual.",
    }
    size = (5.2, 3.8)
    metric_words = {
        "{latent}_bias_sd": "mean z-score, posterior standard deviations; 0 if unbiased",
        "{latent}_zscore_rms": "size of the z-scores; 1 if calibrated",
    }

    def compute(self, context: Context) -> xr.Dataset:
        latent = context.latent
        return compute_zscore(latent, context.prior_variance[latent.name])

    def level(self, part: xr.Dataset, value: float) -> Level:
        by_chance = abs(value) < CERTAIN * part.attrs["error"]
        return "good" if by_chance else grade(abs(value), self.good, self.doubtful)

    def words(self, part: xr.Dataset) -> dict[str, object]:
        bias = self.value(part)
        held = 100 * float(norm.cdf(HALF - bias) - norm.cdf(-HALF - bias))
        return {"side": "high" if bias > 0 else "low", "size": abs(bias), "held": held}

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        bias, rms = result.attrs["bias"], result.attrs["zscore_rms"]
        axes = grid[0, 0]
        axes.axhspan(-2, 2, color=BAND, alpha=0.25, lw=0, label="95 % of calibrated ones")
        left = np.clip(1 - result["contraction"], 1e-8, None)
        axes.plot(left, result["zscore"], ".", ms=4, alpha=0.5, color=FULL, mec="none")
        axes.set_yscale("symlog", linthresh=4)
        largest = float(np.nanmax(np.abs(result["zscore"]), initial=4.0))
        ticks = [t for t in (2, 4, 10, 30, 100, 1000) if t <= max(4.0, 1.5 * largest)]
        axes.set_yticks([*(-t for t in ticks), 0, *ticks])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.invert_xaxis()
        axes.set_xlabel("1 - contraction (1: the prior; to the right: certain)")
        axes.set_ylabel("z-score (posterior sd)")
        axes.legend(loc="lower left")
        return (
            f"{result.attrs['latent']}: off by {bias:+.2g} sd on average, {rms:.2g} sd in size\n"
            f"(calibrated: 0 and 1)"
        )
