"""Bayesian p-values: is more left of the data, or smoother, than of data replicated from draws?

``az.plot_bpv`` pools all observations into one p-value of a function of the replicated data;
here each observation has latents, and so a p-value, of its own, of what is left. The histogram
over observations is the u-value plot of ``plot_bpv``. Only small p-values count: data that were
used to infer are nearer than replicas. Misleads: so it is blind to noise that is too large, and a
right model heaps near 1. Source: Gelman, Meng & Stern (1996).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import Check, group, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import FULL, subplots
from groundvae.inference.prediction import RESIDUALS

TAIL = 0.025
STATISTICS = ("misfit", "structure")

WORDS = {
    "misfit": "errors larger than the model's noise: their posteriors are overconfident; {mend}, "
    "or the noise more room",
    "structure": "a smooth pattern left in their errors: the model misses something, so their "
    "posteriors are overconfident; {mend}",
}


def compute_pvalue(residuals: xr.Dataset) -> xr.Dataset:
    """Share of replicated data with the larger statistic, (statistic, observation).

    ``residuals`` as ``posterior`` gives it: ``misfit`` is minus the log density of what is left,
    ``structure`` the correlation of its neighbours along the first axis (absent where that is too
    short). ``off``: by how many standard deviations of the replicated ones.
    """
    names = [n for n in STATISTICS if float(abs(residuals[f"{n}_replicated"]).max()) > 0]
    over = ("chain", "draw")
    own = xr.concat([residuals[n] for n in names], xr.Variable("statistic", names))
    other = xr.concat(
        [residuals[f"{n}_replicated"] for n in names], xr.Variable("statistic", names)
    )
    spread = np.maximum(other.std(over), 1e-12)
    off = (own.mean(over) - other.mean(over)) / spread
    return xr.Dataset({"pvalue": (other >= own).mean(over), "off": off}).drop_vars(
        "observation", errors="ignore"
    )


def share_extreme(pvalue: xr.DataArray) -> float:
    """Share of the observations (observation,) in the lower tail."""
    return float((pvalue < TAIL).mean())


def replicated(context: Context) -> xr.Dataset:
    """``compute_pvalue`` of the whole, for ``Context.once``."""
    return compute_pvalue(context.inference_data[RESIDUALS])


@registered
class PValue(Check):
    """Whether the errors are those of the model's noise: one verdict for each statistic."""

    name, title, subject = "pvalue", "Bayesian p-values", "{of} of the residuals"
    alternative = "Histograms of the Bayesian p-values of misfit and of structure in the residuals."
    caption = (
        "A heap at 0 means errors larger, or smoother, than the model's own. A right model lies "
        "towards 1, since the data were inferred from."
    )
    needs = (group(RESIDUALS),)
    good, doubtful = 0.08, 0.20  # share of observations in the tail; 0.025 at most is expected
    sentences = {
        "good": "What the model leaves unexplained looks like its noise.",
        "bad": "{percent:.0f} % of the observations have {what}.",
    }
    metric_words = {
        "extreme_misfit": "share of observations with an extreme misfit; 0.025 expected",
        "extreme_structure": "share of observations with extreme structure in errors; 0.025 "
        "expected",
    }

    def compute(self, context: Context) -> xr.Dataset:
        return context.once(replicated).assign_attrs(mend=context.more_room)

    def parts(self, result: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
        for name in map(str, result["statistic"].values):
            yield name, result.sel(statistic=name)

    def value(self, part: xr.Dataset) -> float:
        return share_extreme(part["pvalue"])

    def words(self, part: xr.Dataset) -> dict[str, object]:
        words = WORDS[str(part["statistic"].item())]
        return {"what": words.format(mend=part.attrs["mend"])}

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
            f"{most} of residuals\n(2.5 % would at most; against replicated data)"
        )
