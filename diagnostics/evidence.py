"""Evidence: ELBO, importance-weighted bound and their gap, per observation.

On held-out observations the IWAE bound compares models; the gap is what the guide's form costs.
Misleads: it is a bound from below, looser where k-hat is high, so a model with a better guide can
look like a better model. Source: Burda, Grosse & Salakhutdinov (2016).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import ENOUGH_DRAWS, WEIGHTED, Check, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import FULL
from groundvae.inference.importance import iwae

FAR = 10.0  # times the spread of the middle half, below which all share a bin


def compute_evidence(log_weight: xr.DataArray) -> xr.Dataset:
    """ELBO, IWAE bound of log p(x) and their gap of each observation, nats, (observation,).

    ``log_weight`` (chain, draw, observation). On held-out observations the IWAE bound is the
    held-out log predictive density; it tightens with draws.

    >>> weight = xr.DataArray(np.zeros((1, 4, 1)), dims=("chain", "draw", "observation"))
    >>> float(compute_evidence(weight)["gap"][0])
    0.0
    """
    values = np.concatenate(log_weight.values).astype(float)
    elbo, bound = values.mean(axis=0), iwae(values)
    variables = {"elbo": elbo, "iwae": bound, "gap": bound - elbo}
    return xr.Dataset({k: ("observation", v) for k, v in variables.items()})


@registered
class Evidence(Check):
    """How much of the bound the guide's form costs."""

    name, title, subject = "evidence", "Evidence", "tightness of the bound"
    alternative = "Histogram of the log predictive density of the observations."
    caption = (
        "Use it to compare models on the same data, and to find the observations that the model "
        "expects least. It is a lower bound, and looser where k-hat is high."
    )
    needs = (WEIGHTED, ENOUGH_DRAWS)
    good, doubtful = 1.0, 5.0  # nats an observation
    measured = "gap"
    sentences = {
        "good": "The ELBO is close to the evidence: the guide costs little.",
        "bad": "The ELBO is far below the evidence: compare models by IWAE, not by ELBO, and give "
        "the guide a richer family or more training.",
    }
    metric_words = {"bound_gap": "IWAE less ELBO, nats, median"}

    def compute(self, context: Context) -> xr.Dataset:
        return compute_evidence(context.log_weight)

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        bound = result["iwae"].values
        worst = int(np.argmin(bound))
        first, middle, third = np.quantile(bound, (0.25, 0.5, 0.75))
        low = max(bound.min(), middle - FAR * max(third - first, 1.0))
        axes = grid[0, 0]
        axes.hist(np.maximum(bound, low), bins=40, color=FULL)
        axes.axvline(np.median(bound), color="black", lw=1, ls="--", label="median")
        axes.set_xlabel("log predictive density of an observation (IWAE, nats)")
        axes.set_ylabel("observations")
        axes.legend(loc="upper left")
        return (
            f"Log density {bound.mean():.1f} nats on average; observation {worst} is\nthe least "
            f"expected ({bound[worst]:.4g} nats; the lowest bin holds all below)"
        )
