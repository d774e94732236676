"""Bayesian p-values: do data simulated from the posterior look like the data?

``az.plot_bpv`` pools all observations into one p-value of a function of the replicated data;
here each observation has latents, and so a p-value, of its own, of statistics that need the
predictive mean as well. The histogram over observations is the u-value plot of ``plot_bpv``.
Misleads: p-values heap near the middle even for a right model, so few extremes prove little.
Source: Gelman, Meng & Stern (1996).
"""

from __future__ import annotations

from collections.abc import Iterator

import arviz as az
import numpy as np
import xarray as xr

from groundvae.diagnostics.check import PREDICTIVE, Check, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import FULL, subplots

TAIL = 0.025

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
    that has fewer than three samples). ``off``: how many standard deviations of the replicated
    ones the observation's own is off; of squares by their cube root, which is nearly normal
    (Wilson & Hilferty 1931).
    """
    x = inference_data["observed_data"]["x"].values
    draws = np.concatenate(inference_data["posterior_predictive"]["x"].values)
    parts = [_compared(draws[:, i : i + 100], x[i : i + 100]) for i in range(0, len(x), 100)]
    names = list(parts[0])
    pvalue, off = np.stack([np.concatenate([p[name] for p in parts], -1) for name in names], 1)
    dims = ("statistic", "observation")
    return xr.Dataset({"pvalue": (dims, pvalue), "off": (dims, off)}, coords={"statistic": names})


def _compared(draws: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
    """By statistic the p-value and how far off it is, (2, observation)."""
    mean = draws.mean(axis=0)
    seen = np.isfinite(x)
    observed, replicated = np.where(seen, x - mean, 0), np.where(seen, draws - mean, 0)
    statistics = {"misfit": _misfit}
    if x.shape[1] > 2:
        statistics["structure"] = _structure
    found = {}
    for name, statistic in statistics.items():
        own, others = statistic(observed[None])[0], statistic(replicated)
        pvalue = (others >= own).mean(axis=0)
        own, others = (np.cbrt(own), np.cbrt(others)) if name == "misfit" else (own, others)
        spread = np.maximum(others.std(axis=0), 1e-12)
        found[name] = np.stack([pvalue, (own - others.mean(axis=0)) / spread])
    return found


def _misfit(left: np.ndarray) -> np.ndarray:
    return np.asarray((left.reshape(*left.shape[:2], -1) ** 2).sum(axis=-1))


def _structure(left: np.ndarray) -> np.ndarray:
    together = (left[:, :, 1:] * left[:, :, :-1]).reshape(*left.shape[:2], -1).sum(axis=-1)
    size = _misfit(left)
    return np.asarray(np.divide(together, size, out=np.zeros_like(size), where=size > 0))


def share_extreme(pvalue: xr.DataArray) -> float:
    """Share of the observations (observation,) in one of the tails."""
    return float(((pvalue < TAIL) | (pvalue > 1 - TAIL)).mean())


def replicated(context: Context) -> xr.Dataset:
    """``compute_pvalue`` of the whole, for ``Context.once``."""
    return compute_pvalue(context.inference_data)


@registered
class PValue(Check):
    """Whether the errors are those of the model's noise: one verdict for each statistic."""

    name, title, subject = "pvalue", "Bayesian p-values", "{of} of the residuals"
    alternative = "Histograms of the Bayesian p-values of misfit and of structure in the residuals."
    caption = (
        "A heap at 0 means errors larger, or smoother, than the model's own. At 1 they are "
        "smaller: the noise scale is too large there."
    )
    needs = (PREDICTIVE,)
    good, doubtful = 0.15, 0.30  # share of observations in both tails; 0.05 is expected
    sentences = {
        "good": "What the model leaves unexplained looks like its noise.",
        "bad": "{percent:.0f} % of the observations are extreme, most of them with {what}.",
    }
    metric_words = {
        "extreme_misfit": "share of observations with an extreme misfit; 0.05 expected",
        "extreme_structure": "share of observations with extreme structure in errors; 0.05 "
        "expected",
    }

    def compute(self, context: Context) -> xr.Dataset:
        return context.once(replicated)

    def parts(self, result: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
        for name in map(str, result["statistic"].values):
            yield name, result.sel(statistic=name)

    def value(self, part: xr.Dataset) -> float:
        return share_extreme(part["pvalue"])

    def words(self, part: xr.Dataset) -> dict[str, object]:
        high = float((part["pvalue"] > 1 - TAIL).mean())
        return {"what": WORDS[str(part["statistic"].item()), high > self.value(part) / 2]}

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        return {f"extreme_{name}": self.value(part) for name, part in self.parts(result)}

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        count = result.sizes["statistic"]
        return subplots(1, count, (1.6 + 2.5 * count, 3.0))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        parts = dict(self.parts(result))
        percent = {name: 100 * self.value(part) for name, part in parts.items()}
        for axes, (name, part) in zip(grid[0], parts.items(), strict=True):
            axes.hist(part["pvalue"], bins=np.linspace(0, 1, 21), color=FULL)
            axes.set_xlabel(f"p-value of the {name}")
            axes.set_title(f"{percent[name]:.0f} % extreme", fontsize=9)
        grid[0, 0].set_ylabel("observations")
        most = max(percent, key=lambda name: percent[name])
        return (
            f"{percent[most]:.0f} % of the observations have an extreme "
            f"{most} of residuals\n(5 % would; against data replicated from the posterior)"
        )
