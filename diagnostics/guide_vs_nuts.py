"""Guide against NUTS: the posterior of chosen observations against one by MCMC.

ArviZ judges the chains (``az.rhat``) and makes the densities (``az.kde``). For both as
intervals, or for the joint of two latents, hand the two InferenceData to ``az.plot_forest`` and
``az.plot_pair``: they take them as they are. Misleads: both take the fitted model to be true; a
mode that all chains miss is missed by the comparison too. Sources: Vehtari et al. (2021) for
R-hat; Yao et al. (2018) for the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import wasserstein_distance

from groundvae.diagnostics.check import REFERENCE, Check, by_latent, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.latents import (
    is_auxiliary,
    names_of,
    physics_parts,
    scalar_latents,
    worst_auxiliary,
)
from groundvae.diagnostics.style import FULL, PHYSICS, choose, labelled, subplots
from groundvae.diagnostics.verdict import LEVELS, Level, grade
from groundvae.inference import arviz as az
from groundvae.models.circle import cut_open

CONVERGED = 1.05  # R-hat; Vehtari et al. (2021) ask for 1.01 of final results
WIDTH = np.log(1.25), np.log(1.5)  # good and doubtful, of the ratio of standard deviations
SHIFT = 0.25, 0.4  # likewise, of the mean, in standard deviations
SHOWN = 4  # observations drawn


def compute_guide_vs_nuts(
    guide: az.InferenceData, reference: az.InferenceData, periods: Mapping[str, float] | None = None
) -> xr.Dataset:
    """The guide's posterior against the reference's, (latent, observation).

    ``sd_ratio`` guide / reference, ``shift`` of the mean and ``wasserstein`` distance of the
    marginals, both in the reference's standard deviations; ``rhat`` of the reference (NaN for
    one chain). ``guide`` and ``reference`` (latent, observation, draw) are the draws. Only
    observations of the reference are compared, found in ``guide`` by their coordinate.
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
    both = cut_open(np.concatenate([guide, reference]), period)
    return both[: len(guide)], both[len(guide) :]


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
    return np.asarray(az.rhat(az.drawn({"x": by_chain}))["x"].values)


@registered
class GuideVsNuts(Check):
    """Whether the guide says what MCMC says: physics latents, and the worst part of ``z_aux``."""

    name, title, subject = "guide_vs_nuts", "Guide against NUTS", "guide against NUTS: {of}"
    alternative = (
        "Densities of the physics latents of a few observations, by the guide and by NUTS."
    )
    caption = (
        "Both ask the same fitted model, so a difference is the guide's fault alone; where they "
        "agree both can still be wrong about the world."
    )
    needs = (REFERENCE,)
    always = True
    fewest = 5  # MCMC of each takes seconds to minutes
    good, doubtful = 0.25, 0.5  # Wasserstein distance, standard deviations
    measured = "wasserstein"
    sentences = {
        "good": "The guide says what MCMC says of the same model; what is wrong, if anything, is "
        "the model.",
        "bad": "Against MCMC of the same model the guide is too {how} by a factor of {ratio:.2g} "
        "and off by {shift:.2g} standard deviations (medians): train it longer or take a richer "
        "guide; for single observations use the MCMC draws.",
    }
    metric_words = {
        "{latent}_nuts_sd_ratio": "guide's standard deviation over that of MCMC, median",
        "{latent}_nuts_shift": "guide's mean less that of MCMC, in its standard deviations, "
        "median size",
        "{latent}_nuts_wasserstein": "distance from MCMC, in its standard deviations, median",
    }

    def compute(self, context: Context) -> xr.Dataset:
        assert context.reference is not None  # a condition
        return compute_guide_vs_nuts(context.inference_data, context.reference, context.periods)

    def parts(self, result: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
        """Only observations whose chains agree."""
        worst = worst_auxiliary(result["wasserstein"])
        chosen = [*physics_parts(result), *((n, result.sel(latent=n)) for n in worst)]
        for name, part in chosen:
            mixed = part.isel(observation=np.flatnonzero(~(part["rhat"] > CONVERGED)))
            yield name, mixed.assign_attrs(chosen=part.sizes["observation"])

    def refusal(self, part: xr.Dataset) -> str:
        n, chosen = part.sizes["observation"], part.attrs["chosen"]
        lost = f"NUTS converged for {n} of {chosen} observations: choose more, or let it run on."
        few = super().refusal(part)
        return lost if few and n < chosen else few

    def level(self, part: xr.Dataset, value: float) -> Level:
        words = self.words(part)
        levels = grade(np.log(words["ratio"]), *WIDTH), grade(words["shift"], *SHIFT)
        return max(super().level(part, value), *levels, key=LEVELS.index)

    def words(self, part: xr.Dataset) -> dict[str, Any]:
        narrow = float(part["sd_ratio"].median()) < 1
        return {
            "how": "narrow" if narrow else "wide",
            "ratio": float(np.exp(np.median(np.abs(np.log(part["sd_ratio"].values))))),
            "shift": float(abs(part["shift"]).median()),
        }

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        return (
            by_latent(result["sd_ratio"], "nuts_sd_ratio")
            | by_latent(abs(result["shift"]), "nuts_shift")
            | by_latent(result["wasserstein"], "nuts_wasserstein")
        )

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        columns, rows = len(_shown(result)), min(SHOWN, result.sizes["observation"])
        return subplots(rows, columns, (max(5.2, 3.1 * columns), 1.5 * rows + 1.2))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = _shown(result)
        rows = choose(result.sizes["observation"], SHOWN)
        ratio = float(result["sd_ratio"].sel(latent=names).median())
        shift = float(abs(result["shift"].sel(latent=names)).median())
        for row, i in zip(grid, rows, strict=True):
            for axes, name in zip(row, names, strict=True):
                _overlay(axes, result.sel(latent=name).isel(observation=i))
            row[0].set_ylabel(f"observation {int(result['observation'][i])}", fontsize=8)
        for axes, name in zip(grid[-1], names, strict=True):
            axes.set_xlabel(labelled(name, str(result["unit"].sel(latent=name).item())))
        handles, labels = grid[0, 0].get_legend_handles_labels()
        grid[0, 0].figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return (
            f"Against NUTS the guide is {ratio:.2g} times as wide and off by {shift:.2g} sd\n"
            f"(medians over {result.sizes['observation']} observations and physics latents)"
        )


def _shown(result: xr.Dataset) -> list[str]:
    names = names_of(result)
    return [n for n in names if not is_auxiliary(n)] or names[:3]


def _overlay(axes: Axes, one: xr.Dataset) -> None:
    for kind, label, color, style in (
        ("reference", "NUTS", PHYSICS, "--"),
        ("guide", "guide", FULL, "-"),
    ):
        axes.plot(*az.kde(one[kind].values), style, color=color, label=label, linewidth=1.6)
    axes.set_ylim(0)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
