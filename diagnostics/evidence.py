"""Evidence: ELBO, importance-weighted bound and their gap, per observation."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.special import logsumexp

from groundvae.diagnostics.style import FULL, house_style
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded

GOOD, DOUBTFUL = 1.0, 5.0  # nats an observation


def compute_evidence(log_weight: xr.DataArray) -> xr.Dataset:
    """ELBO, IWAE bound of log p(x) and their gap of each observation, nats.

    On held-out observations the IWAE bound is the held-out log predictive density. Source:
    Burda, Grosse & Salakhutdinov (2016). The bound is from below, and tightens with draws.

    >>> weight = xr.DataArray(np.zeros((1, 4, 1)), dims=("chain", "draw", "observation"))
    >>> float(compute_evidence(weight)["gap"][0])
    0.0
    """
    values = np.concatenate(log_weight.values).astype(float)
    elbo = values.mean(axis=0)
    iwae = logsumexp(values, axis=0) - np.log(len(values))
    variables = {"elbo": elbo, "iwae": iwae, "gap": iwae - elbo}
    return xr.Dataset({k: ("observation", v) for k, v in variables.items()})


def check_evidence(result: xr.Dataset) -> Verdict:
    """How much of the bound the guide's form costs."""
    n = result.sizes["observation"]
    name = "tightness of the bound"
    if n < FEWEST:
        return too_few(name, n, FEWEST, GOOD)
    value = float(result["gap"].median())
    level = grade(value, GOOD, DOUBTFUL)
    meaning = worded(
        level,
        good="The ELBO is close to the evidence: the guide costs little.",
        bad="The ELBO is far below the evidence: compare models by IWAE, not by ELBO, and give "
        "the guide a richer family or more training.",
    )
    return Verdict(name, level, meaning, value, GOOD, n)


def plot_evidence(result: xr.Dataset) -> Figure:
    """Distribution of the IWAE bound over observations; the left tail fits worst."""
    iwae = result["iwae"].values
    worst = int(np.argmin(iwae))
    low = np.quantile(iwae, 0.005)
    with house_style():
        figure, axes = plt.subplots(figsize=(5.2, 3.2))
        axes.hist(np.maximum(iwae, low), bins=40, color=FULL)
        axes.axvline(np.median(iwae), color="black", lw=1, ls="--", label="median")
        axes.set_xlabel("log predictive density of an observation (IWAE, nats)")
        axes.set_ylabel("observations")
        axes.set_title(
            f"Log density {iwae.mean():.1f} nats on average; observation {worst} is\nthe least "
            f"expected ({iwae[worst]:.4g} nats; the lowest bin holds all below)"
        )
        axes.legend(loc="upper left")
    return figure
