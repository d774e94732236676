"""Importance weights: how far the guide is from the model's exact posterior, per observation.

``az.psislw`` smooths them. ``az.plot_khat`` draws k-hat by position; here they are sorted, and
cut where they are infinite, so that the share above the limit is read off the axis. Misleads: it
judges all latents at once, and sees only where the guide puts draws, so a guide that misses a
mode can pass. Sources: Vehtari et al. (2024), Yao et al. (2018).
"""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import DRAWS, ENOUGH_DRAWS, WEIGHTED, Check, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import FULL, PHYSICS
from groundvae.inference import arviz as az
from groundvae.inference.importance import ANNEALED, EQUAL, effective_size

TAIL = 100  # draws below which the limit of k-hat is so low that exact posteriors are above it


def compute_weights(log_weight: xr.DataArray) -> xr.Dataset:
    """Pareto k-hat and relative effective sample size of each observation, (observation,).

    ``log_weight`` = log p(x, z) - log q(z | x), (chain, draw, observation), smoothed
    observation by observation. Where all weights are within a tenth of a nat (the guide is exact,
    or next to it) their tail has no say, and k-hat is 0.

    >>> exact = xr.DataArray(np.zeros((1, 100, 2)), dims=("chain", "draw", "observation"))
    >>> compute_weights(exact)["ess"].values
    array([1., 1.])
    """
    values = np.concatenate(log_weight.values).T.astype(float)
    draws = values.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is what this reports
        smoothed, khat = az.psislw(values)
        ess = effective_size(smoothed.T) / draws
    equal = np.ptp(values, axis=1) < EQUAL
    khat, ess = np.where(equal, 0.0, khat), np.where(equal, 1.0, ess)
    attrs = {
        "draws": draws,
        "khat_limit": min(1 - 1 / np.log10(draws), 0.7) if draws >= DRAWS else np.nan,
        "khat_median": float(np.median(khat)),
        "effective_share": float(np.median(ess)),
    }
    return xr.Dataset({"khat": ("observation", khat), "ess": ("observation", ess)}, attrs=attrs)


def importance(context: Context) -> xr.Dataset:
    """``compute_weights`` of the whole, for ``Context.once``.

    Draws that were carried on to the model's own posterior weigh the same: of these count the
    weights of the whole way there, before the draws were taken by them.
    """
    found = compute_weights(context.log_weight)
    data = context.inference_data
    if "constant_data" not in data or ANNEALED not in data["constant_data"]:
        return found
    constant = data["constant_data"]
    carried = constant[ANNEALED].values.astype(bool)
    sides = {"khat": f"{ANNEALED}_k_hat", "ess": f"{ANNEALED}_effective"}
    both = {k: np.where(carried, constant[v].values, found[k].values) for k, v in sides.items()}
    shares = {"khat_median": np.median(both["khat"]), "effective_share": np.median(both["ess"])}
    attrs = found.attrs | {k: float(v) for k, v in shares.items()}
    variables = {k: ("observation", v) for k, v in both.items()}
    return xr.Dataset(variables | {ANNEALED: ("observation", carried)}, attrs=attrs)


@registered
class Weights(Check):
    """Whether the guide is close enough to the exact posterior to be corrected by weights."""

    name, title, subject = "weights", "Importance weights", "importance weights"
    alternative = "Pareto k-hat of each observation with its limit, and effective draws."
    caption = (
        "Above the limit the guide's draws cannot be corrected by weights. With as many latents "
        "as here k-hat is strict: means may be fine where it is high. Draws that were carried on "
        "to the model's posterior are judged by the weights of the whole way."
    )
    needs = (WEIGHTED, ENOUGH_DRAWS)
    good, doubtful = 0.05, 0.25  # share of observations above the limit of k-hat
    sentences = {
        "good": "The guide is close to the model's exact posterior; weighting its draws corrects "
        "what is left.",
        "bad": "For {percent:.0f} % of the observations the guide is far from the model's "
        "exact posterior: their widths and tails are the guide's, not the model's; {mend}.",
    }
    size, columns = (6.4, 3.1), 2
    metric_words = {
        "khat_median": "Pareto k-hat of the importance weights, median; below 0.5 is good",
        "khat_above": "share of observations with k-hat above its limit",
        "effective_share": "share of the draws that are effective after weighting, median",
    }

    def compute(self, context: Context) -> xr.Dataset:
        return context.once(importance).assign_attrs(mend=context.better_guide)

    def value(self, part: xr.Dataset) -> float:
        return float((part["khat"] > part.attrs["khat_limit"]).mean())

    def refusal(self, part: xr.Dataset) -> str:
        n, draws = part.sizes["observation"], part.attrs["draws"]
        if n >= self.fewest and draws >= TAIL:
            return ""
        return (
            f"No verdict from {n} observations and {draws} draws of each: diagnose on "
            f"{self.fewest} or more, with {TAIL} or more predictive draws."
        )

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        limit = result.attrs["khat_limit"]
        khat = np.sort(result["khat"].values)
        finite = np.minimum(khat, max(2.0, 1.2 * limit if np.isfinite(limit) else 2.0))
        left, right = grid[0]
        left.plot(100 * (np.arange(len(khat)) + 0.5) / len(khat), finite, ".", ms=3, color=FULL)
        left.axhline(limit, color=PHYSICS, ls="--", lw=1.2, label=f"limit {limit:.2f}")
        left.set(xlabel="observations, sorted (%)", ylabel="Pareto k-hat")
        grid[0, 0].figure.legend(*left.get_legend_handles_labels(), loc="outside lower center")
        right.hist(result["ess"].values, bins=np.linspace(0, 1, 26), color=FULL)
        right.set(xlabel="effective share of the draws", ylabel="observations")
        carried = ""
        if ANNEALED in result:
            carried = f", {100 * float(result[ANNEALED].mean()):.0f} % carried on"
        return (
            f"k-hat is above its limit for {100 * self.value(result):.0f} % of "
            f"{len(khat)} observations{carried}; of the\n"
            f"draws {100 * float(result['ess'].median()):.0f} % are effective (median)"
        )
