"""Out of distribution: are the data of the kind that the run was validated on?

Two scores with conformal thresholds, see ``inference/outofdistribution.py``; the check allows for
chance. Misleads: densities can be high for simple but strange data, features ignore what the
encoder ignores, and on another time grid than the fit's the rate is not guaranteed. Sources:
Laxhammar & Falkman (2010); Lee et al. (2018); Nalisnick et al. (2019).
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import betabinom

from groundvae.diagnostics.check import SCORED, Check, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import FULL, PHYSICS, subplots
from groundvae.diagnostics.verdict import Level, grade
from groundvae.inference.outofdistribution import SCORES

GOOD, DOUBTFUL = 0.05, 0.25  # share of observations beyond a threshold; 0.01 is expected
SURE = 0.999
WIDE = 50.0  # range of a score beyond which its axis is bent
WORDS = {
    "surprise": "negative log density (nats a sample)",
    "feature_distance": "distance of features (sd)",
}


def compute_outofdistribution(marked: xr.Dataset) -> xr.Dataset:
    """Share of strange observations, by either score, and the share that chance allows.

    ``marked`` holds the scores and ``out_of_distribution`` (observation,), as stored in
    ``constant_data``. Of m new observations the number beyond the k-th of n known ones is
    beta-binomial, (m, n + 1 - k, k), if all are of one kind: ``limit`` is its 99.9 % quantile,
    summed over the scores, or ``GOOD`` if that is more.
    """
    names = [name for name in SCORES if name in marked]
    result = marked[[*names, "out_of_distribution"]]
    m = result.sizes["observation"]
    known = max(int(result[name].attrs["known"]) for name in names)
    chance = sum(_chance(result[name], m, SURE ** (1 / len(names))) for name in names)
    expected = sum(float(result[name].attrs["rate"]) for name in names)
    attrs = {"known": known, "expected": expected, "limit": max(GOOD, chance)}
    return result.assign_attrs(attrs | {"share": float(result["out_of_distribution"].mean())})


def _chance(score: xr.DataArray, m: int, sure: float) -> float:
    n = int(score.attrs["known"])
    above = max(1, round(score.attrs["rate"] * (n + 1)))
    return float(betabinom.ppf(sure, m, above, n + 1 - above)) / m if n else 1.0


@registered
class OutOfDistribution(Check):
    """Whether the data are of the kind that the run knows."""

    name, title = "outofdistribution", "Out of distribution"
    subject = "observations out of distribution"
    alternative = "Sorted scores of the observations with the threshold set on validation data."
    caption = (
        "Beyond the dashed line an observation is unlike those that the run was validated on: "
        "its posterior is an extrapolation. `posterior` marks the same observations."
    )
    needs = (SCORED,)
    measured = "share"
    sentences = {
        "good": "The observations are like those that the run was validated on.",
        "bad": "{percent:.0f} % of the observations are unlike those that the run knows: its "
        "posteriors there are extrapolations; leave them out, or fit on data like them.",
    }
    metric_words = {
        "out_of_distribution": "share of unusual observations, beyond a threshold; 0.01 expected"
    }

    def compute(self, context: Context) -> xr.Dataset:
        return compute_outofdistribution(context.inference_data["constant_data"])

    def level(self, part: xr.Dataset, value: float) -> Level:
        return grade(value, self.limit(part), max(self.limit(part), DOUBTFUL))

    def observations(self, part: xr.Dataset) -> int:
        n = part.sizes["observation"]
        return n if n < self.fewest or part.attrs["expected"] else int(part.attrs["known"])

    def refusal(self, part: xr.Dataset) -> str:
        n, known = part.sizes["observation"], part.attrs["known"]
        if n < self.fewest or part.attrs["expected"]:
            return super().refusal(part)
        return f"No verdict from {known} validation observations: fit with {self.fewest} or more."

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        count = sum(name in result for name in SCORES)
        return subplots(1, count, (1.2 + 2.7 * count, 3.1))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = [name for name in SCORES if name in result]
        share, n = 100 * result.attrs["share"], result.sizes["observation"]
        percent = 100 * (np.arange(n) + 0.5) / n
        for axes, name in zip(grid[0], names, strict=True):
            axes.plot(percent, np.sort(result[name].values), ".", ms=4, color=FULL)
            axes.axhline(result[name].attrs["threshold"], color=PHYSICS, ls="--")
            if np.ptp(result[name].values) > WIDE:  # a few far ones would flatten all others
                axes.set_yscale("symlog", linthresh=10)
            axes.set(xlabel="observations, sorted (%)", ylabel=WORDS.get(name, name))
        return (
            f"{share:.1f} % of {n} observations are beyond a threshold (dashed);\n"
            f"of ordinary ones {100 * result.attrs['expected']:.1f} % would be"
        )
