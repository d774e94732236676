"""MCMC: the guide's posterior of chosen observations against one that NUTS drew.

ArviZ judges the chains (``az.rhat``) and draws the densities (``az.plot_dist``). For both as
intervals, or for the joint of two latents, hand the two InferenceData to ``az.plot_forest`` and
``az.plot_pair``: they take them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import wasserstein_distance

from groundvae.diagnostics.latents import is_auxiliary, scalar_latents
from groundvae.diagnostics.score import unwrap
from groundvae.diagnostics.style import FULL, PHYSICS, headline, house_style, labelled
from groundvae.diagnostics.verdict import Level, Verdict, grade, too_few, worded

FEWEST = 5  # observations: MCMC of each takes seconds to minutes
CONVERGED = 1.05  # R-hat; Vehtari et al. (2021) ask for 1.01 of final results
WIDTH_GOOD, WIDTH_DOUBTFUL = np.log(1.25), np.log(1.5)  # of the ratio of standard deviations
SHIFT_GOOD, SHIFT_DOUBTFUL = 0.25, 0.4  # standard deviations
GOOD, DOUBTFUL = 0.25, 0.5  # Wasserstein distance, standard deviations
SHOWN = 4  # observations drawn


def choose(observations: int, count: int) -> np.ndarray:
    """Positions of ``count`` observations, evenly over all.

    >>> choose(9, 3)
    array([0, 4, 8])
    """
    return np.unique(np.linspace(0, observations - 1, min(count, observations)).astype(int))


def compute_guide_vs_nuts(
    guide: az.InferenceData,
    reference: az.InferenceData,
    periods: Mapping[str, float] | None = None,
) -> xr.Dataset:
    """The guide's posterior against the reference's, (latent, observation).

    ``sd_ratio`` guide / reference, ``shift`` of the mean and ``wasserstein`` distance of the
    marginals, both in the reference's standard deviations; ``rhat`` of the reference (NaN for
    one chain). ``guide`` and ``reference`` (latent, observation, draw) are the draws. Only
    observations of the reference are compared, found in ``guide`` by their coordinate.
    Sources: Vehtari et al. (2021) for R-hat; Yao et al. (2018) for the comparison.
    """
    posterior = reference["posterior"]
    of_guide = guide["posterior"].sel(observation=posterior["observation"])
    first, second = (scalar_latents(p) for p in (of_guide, posterior))
    names = [n for n in second if n in first]
    drawn = [_drawn(first[n], second[n], (periods or {}).get(n)) for n in names]
    guided, sampled = (np.stack([pair[i].T for pair in drawn]) for i in (0, 1))
    mean, spread = sampled.mean(-1), np.maximum(sampled.std(-1), 1e-12)
    dims = ("latent", "observation")
    chains = posterior.sizes["chain"]
    variables = {
        "sd_ratio": (dims, guided.std(-1) / spread),
        "shift": (dims, (guided.mean(-1) - mean) / spread),
        "wasserstein": (dims, _distances(guided, sampled) / spread),
        "rhat": (dims, _rhat(sampled, chains)),
        "guide": ((*dims, "draw"), guided),
        "reference": ((*dims, "step"), sampled),
    }
    units = [str(posterior[n].attrs.get("units", "")) if n in posterior else "" for n in names]
    coords = {
        "latent": names,
        "observation": posterior["observation"].values,
        "unit": ("latent", units),
    }
    return xr.Dataset(variables, coords)


def _drawn(
    guide: np.ndarray, reference: np.ndarray, period: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Draws (draw, observation) of both; angles cut open at the same place."""
    if period is None:
        return guide, reference
    n = len(guide)
    both, _ = unwrap(np.concatenate([guide, reference]), reference[0], period)
    return both[:n], both[n:]


def _distances(guide: np.ndarray, reference: np.ndarray) -> np.ndarray:
    found = [
        [wasserstein_distance(a, b) for a, b in zip(one, other, strict=True)]
        for one, other in zip(guide, reference, strict=True)
    ]
    return np.array(found)


def _rhat(draws: np.ndarray, chains: int) -> np.ndarray:
    """R-hat (latent, observation) of draws (latent, observation, chain * draw)."""
    if chains < 2 or draws.shape[-1] < 4 * chains:
        return np.full(draws.shape[:-1], np.nan)
    by_chain = np.moveaxis(draws.reshape(*draws.shape[:-1], chains, -1), (2, 3), (0, 1))
    return np.asarray(az.rhat(az.convert_to_dataset(by_chain))["x"].values)


def check_guide_vs_nuts(result: xr.Dataset) -> list[Verdict]:
    """One verdict for each physics latent, and one for the worst part of ``z_aux``."""
    names = [str(n) for n in result["latent"].values]
    verdicts = [_check_one(result.sel(latent=n), n) for n in names if not is_auxiliary(n)]
    auxiliary = [n for n in names if is_auxiliary(n)]
    if not auxiliary:
        return verdicts
    worst = max(auxiliary, key=lambda n: float(result["wasserstein"].sel(latent=n).median()))
    return [*verdicts, _check_one(result.sel(latent=worst), worst)]


def _check_one(latent: xr.Dataset, name: str) -> Verdict:
    title = f"guide against NUTS: {name}"
    mixed = latent.isel(observation=np.flatnonzero(~(latent["rhat"] > CONVERGED)))
    n, chosen = mixed.sizes["observation"], latent.sizes["observation"]
    if n < FEWEST:
        few = too_few(title, n, FEWEST, GOOD)
        lost = f"NUTS converged for {n} of {chosen} observations: choose more, or let it run on."
        return few if n == chosen else Verdict(title, few.level, lost, few.value, GOOD, n)
    ratio = float(np.exp(np.median(np.abs(np.log(mixed["sd_ratio"].values)))))
    shift = float(abs(mixed["shift"]).median())
    value = float(mixed["wasserstein"].median())
    level = _worst(
        grade(np.log(ratio), WIDTH_GOOD, WIDTH_DOUBTFUL),
        grade(shift, SHIFT_GOOD, SHIFT_DOUBTFUL),
        grade(value, GOOD, DOUBTFUL),
    )
    narrow = float(mixed["sd_ratio"].median()) < 1
    how = f"too {'narrow' if narrow else 'wide'} by a factor of {ratio:.2g}"
    how += f" and off by {shift:.2g} standard deviations (medians)"
    meaning = worded(
        level,
        good="The guide says what MCMC says of the same model; what is wrong, if anything, is "
        "the model.",
        bad=f"Against MCMC of the same model the guide is {how}: train it longer or take a "
        "richer guide; for single observations use the MCMC draws.",
    )
    return Verdict(title, level, meaning, value, GOOD, n)


def _worst(*levels: Level) -> Level:
    return max(levels, key=("good", "doubtful", "bad").index)


def plot_guide_vs_nuts(result: xr.Dataset) -> Figure:
    """Densities of both, one row an observation, one column a physics latent."""
    names = [n for n in map(str, result["latent"].values) if not is_auxiliary(n)]
    names = names or [str(n) for n in result["latent"].values][:3]
    rows = choose(result.sizes["observation"], SHOWN)
    ratio = float(result["sd_ratio"].sel(latent=names).median())
    shift = float(abs(result["shift"].sel(latent=names)).median())
    with house_style():
        figure, grid = plt.subplots(
            len(rows),
            len(names),
            figsize=(max(5.2, 3.1 * len(names)), 1.5 * len(rows) + 1.2),
            squeeze=False,
        )
        for row, i in zip(grid, rows, strict=True):
            for axes, name in zip(row, names, strict=True):
                _overlay(axes, result.sel(latent=name).isel(observation=i))
            row[0].set_ylabel(f"observation {int(result['observation'][i])}", fontsize=8)
        for axes, name in zip(grid[-1], names, strict=True):
            axes.set_xlabel(labelled(name, str(result["unit"].sel(latent=name).item())))
        headline(
            figure,
            f"Against NUTS the guide is {ratio:.2g} times as wide and off by {shift:.2g} sd\n"
            f"(medians over {result.sizes['observation']} observations and physics latents)",
        )
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _overlay(axes: Axes, one: xr.Dataset) -> None:
    for kind, label, color, style in (
        ("reference", "NUTS", PHYSICS, "--"),
        ("guide", "guide", FULL, "-"),
    ):
        line = {"linestyle": style, "linewidth": 1.6}
        az.plot_dist(
            one[kind].values, ax=axes, color=color, label=label, textsize=8, plot_kwargs=line
        )
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
