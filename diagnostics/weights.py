"""Importance weights: how far the guide is from the model's exact posterior, per observation.

``az.psislw`` smooths them. ``az.plot_khat`` draws k-hat by position; here they are sorted, and
cut where they are infinite, so that the share above the limit is read off the axis.
"""

from __future__ import annotations

import warnings

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.style import FULL, PHYSICS, headline, house_style
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded

GOOD, DOUBTFUL = 0.05, 0.25  # share of observations above the limit of k-hat
DRAWS = 25  # fewer have no tail to fit
EQUAL = 1e-3  # weights within this many nats are all the same


def compute_weights(log_weight: xr.DataArray) -> xr.Dataset:
    """Pareto k-hat and relative effective sample size of each observation, (observation,).

    ``log_weight`` = log p(x, z) - log q(z | x), (chain, draw, observation), smoothed
    observation by observation. Where all weights are equal (the guide is exact) there is no
    tail, and k-hat is 0. Sources: Vehtari et al. (2024), Yao et al. (2018).

    >>> exact = xr.DataArray(np.zeros((1, 100, 2)), dims=("chain", "draw", "observation"))
    >>> compute_weights(exact)["ess"].values
    array([1., 1.])
    """
    values = np.concatenate(log_weight.values).T.astype(float)
    draws = values.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is what this reports
        smoothed, khat = az.psislw(values)
    ess = 1 / np.exp(2 * smoothed).sum(axis=1) / draws
    equal = np.ptp(values, axis=1) < EQUAL
    limit = min(1 - 1 / np.log10(draws), 0.7) if draws >= DRAWS else np.nan
    return xr.Dataset(
        {
            "khat": ("observation", np.where(equal, 0.0, khat)),
            "ess": ("observation", np.where(equal, 1.0, ess)),
        },
        attrs={"draws": draws, "limit": limit},
    )


def share_above(result: xr.Dataset) -> float:
    """Share of the observations whose k-hat is above the limit."""
    return float((result["khat"] > result.attrs["limit"]).mean())


def check_weights(result: xr.Dataset) -> Verdict:
    """Whether the guide is close enough to the exact posterior to be corrected by weights."""
    n = result.sizes["observation"]
    name = "importance weights"
    if n < FEWEST or result.attrs["draws"] < DRAWS:
        refusal = f"No verdict from {n} observations and {result.attrs['draws']} draws of each: "
        refusal += f"diagnose on {FEWEST} or more, with {DRAWS} or more predictive draws."
        few = too_few(name, n, FEWEST, GOOD)
        return Verdict(few.name, few.level, refusal, few.value, GOOD, n)
    value = share_above(result)
    level = grade(value, GOOD, DOUBTFUL)
    meaning = worded(
        level,
        good="The guide is close to the model's exact posterior; weighting its draws corrects "
        "what is left.",
        bad=f"For {100 * value:.0f} % of the observations the guide is far from the model's "
        "exact posterior: their widths and tails are the guide's, not the model's; take a "
        "richer guide or train longer, and check chosen observations by MCMC.",
    )
    return Verdict(name, level, meaning, value, GOOD, n)


def plot_weights(result: xr.Dataset) -> Figure:
    """Sorted k-hat with the limit, and the effective share of the draws."""
    limit = result.attrs["limit"]
    khat = np.sort(result["khat"].values)
    finite = np.minimum(khat, max(2.0, 1.2 * limit if np.isfinite(limit) else 2.0))
    with house_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.1))
        left.plot(100 * (np.arange(len(khat)) + 0.5) / len(khat), finite, ".", ms=3, color=FULL)
        left.axhline(limit, color=PHYSICS, ls="--", lw=1.2, label=f"limit {limit:.2f}")
        left.set_xlabel("observations, sorted (%)")
        left.set_ylabel("Pareto k-hat")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center")
        right.hist(result["ess"].values, bins=np.linspace(0, 1, 26), color=FULL)
        right.set_xlabel("effective share of the draws")
        right.set_ylabel("observations")
        headline(
            figure,
            f"k-hat is above its limit for {100 * share_above(result):.0f} % of "
            f"{len(khat)} observations; of the\ndraws {100 * float(result['ess'].median()):.0f} %"
            " are effective (median)",
        )
    return figure
