"""Bayesian p-values: do data simulated from the posterior look like the data?

``az.plot_bpv`` pools all observations into one p-value of a function of the replicated data;
here each observation has latents, and so a p-value, of its own, of statistics that need the
predictive mean as well. The histogram over observations is the u-value plot of ``plot_bpv``.
"""

from __future__ import annotations

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.style import FULL, headline, house_style
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded

TAIL = 0.025
GOOD, DOUBTFUL = 0.15, 0.30  # share of observations in both tails; 0.05 is expected

WORDS = {
    ("misfit", False): "errors larger than the model's noise: their posteriors are overconfident, "
    "so give the residual or the noise more room",
    ("misfit", True): "errors smaller than the model's noise: their posteriors are wider than the "
    "data need, so let the noise differ between observations",
    ("structure", False): "a smooth pattern left in their errors: the model misses something, so "
    "their posteriors are overconfident; give the residual more room",
    ("structure", True): "errors that alternate in sign more than noise does: look at the worst "
    "reconstructions for a frequency that the model misses",
}
"""By statistic, and whether most extreme p-values are near 1."""


def compute_pvalue(inference_data: az.InferenceData) -> xr.Dataset:
    """Share of replicated data with the larger statistic, (statistic, observation).

    Both statistics are of what is left after the predictive mean: ``misfit`` its sum of
    squares, ``structure`` the correlation of neighbours along the first axis (missing where
    that has fewer than three samples). Source: Gelman, Meng & Stern (1996).
    """
    x = inference_data["observed_data"]["x"].values
    draws = np.concatenate(inference_data["posterior_predictive"]["x"].values)
    parts = [_shares(draws[:, i : i + 100], x[i : i + 100]) for i in range(0, len(x), 100)]
    names = list(parts[0])
    values = np.stack([np.concatenate([p[name] for p in parts]) for name in names])
    return xr.Dataset(
        {"pvalue": (("statistic", "observation"), values)}, coords={"statistic": names}
    )


def _shares(draws: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    mean = draws.mean(axis=0)
    seen = np.isfinite(x)
    observed, replicated = np.where(seen, x - mean, 0), np.where(seen, draws - mean, 0)
    statistics = {"misfit": _misfit}
    if x.shape[1] > 2:
        statistics["structure"] = _structure
    return {k: (f(replicated) >= f(observed[None])).mean(axis=0) for k, f in statistics.items()}


def _misfit(left: np.ndarray) -> np.ndarray:
    return np.asarray((left.reshape(*left.shape[:2], -1) ** 2).sum(axis=-1))


def _structure(left: np.ndarray) -> np.ndarray:
    together = (left[:, :, 1:] * left[:, :, :-1]).reshape(*left.shape[:2], -1).sum(axis=-1)
    size = _misfit(left)
    return np.asarray(np.divide(together, size, out=np.zeros_like(size), where=size > 0))


def extreme(result: xr.Dataset) -> xr.DataArray:
    """Share of the observations in one of the tails, (statistic,)."""
    outside = (result["pvalue"] < TAIL) | (result["pvalue"] > 1 - TAIL)
    return outside.mean("observation")


def check_pvalue(result: xr.Dataset) -> list[Verdict]:
    """One verdict for each statistic."""
    return [_check_one(result, str(name)) for name in result["statistic"].values]


def _check_one(result: xr.Dataset, statistic: str) -> Verdict:
    n, name = result.sizes["observation"], f"{statistic} of the residuals"
    if n < FEWEST:
        return too_few(name, n, FEWEST, GOOD)
    value = float(extreme(result).sel(statistic=statistic))
    level = grade(value, GOOD, DOUBTFUL)
    high = float((result["pvalue"].sel(statistic=statistic) > 1 - TAIL).mean())
    what = WORDS[statistic, high > value / 2]
    meaning = worded(
        level,
        good="What the model leaves unexplained looks like its noise.",
        bad=f"{100 * value:.0f} % of the observations are extreme, most of them with {what}.",
    )
    return Verdict(name, level, meaning, value, GOOD, n)


def plot_pvalue(result: xr.Dataset) -> Figure:
    """Histogram of the p-values; a heap at 0 means that data depart more than replications."""
    names = [str(n) for n in result["statistic"].values]
    shares = extreme(result)
    with house_style():
        figure, grid = plt.subplots(
            1, len(names), figsize=(1.6 + 2.5 * len(names), 3.0), squeeze=False
        )
        for axes, name in zip(grid.flat, names, strict=True):
            values = result["pvalue"].sel(statistic=name)
            axes.hist(values, bins=np.linspace(0, 1, 21), color=FULL)
            axes.set_xlabel(f"p-value of the {name}")
            axes.set_title(f"{100 * float(shares.sel(statistic=name)):.0f} % extreme", fontsize=9)
        grid.flat[0].set_ylabel("observations")
        most = max(names, key=lambda name: float(shares.sel(statistic=name)))
        headline(
            figure,
            f"{100 * float(shares.sel(statistic=most)):.0f} % of the observations have an extreme "
            f"{most} of residuals\n(5 % would; against data replicated from the posterior)",
        )
    return figure
