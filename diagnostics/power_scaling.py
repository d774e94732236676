"""Power-scaling: would a little more or less prior, or data, move a latent?

``az.psens`` does the scaling. A uniform prior has no strength to scale: all that it says is its
bounds, so for one the distance of the posterior from the nearest bound is looked at as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from groundvae.diagnostics.latents import scalar_latents
from groundvae.diagnostics.style import FULL, PHYSICS, headline, house_style
from groundvae.diagnostics.verdict import FEWEST, Level, Verdict, grade, too_few, worded

OBSERVATIONS = 40  # each takes two weightings
SENSITIVE = 0.05  # of Kallioinen et al.
GOOD, DOUBTFUL = 0.25, 0.5  # share of the observations whose prior is felt
COMPONENTS = ("prior", "likelihood")
NEAR = 2.0
"""Standard deviations from a posterior's mean within which a bound is felt: cut off there, a
normal distribution has its mean moved by 0.05 of them, about what ``SENSITIVE`` stands for."""


def compute_power_scaling(
    inference_data: az.InferenceData,
    log_prior: Mapping[str, np.ndarray],
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> xr.Dataset:
    """Sensitivity (component, latent, observation) of the physics latents of some observations.

    ``log_prior`` (draw, observation) by name. The priors of the physics latents are scaled
    together. Each observation is a posterior of its own. The draws are the guide's, so this says
    what reweighting them does. ``bounds`` of the latents whose prior is uniform (and on a line):
    ``bound`` (latent, observation) is the distance of the posterior's mean from the nearest one,
    in its standard deviations, and infinite for other priors. Source: Kallioinen, Paananen,
    Buerkner & Vehtari (2023).
    """
    posterior, likelihood = inference_data["posterior"], inference_data["log_likelihood"]["x"]
    n, few = posterior.sizes["observation"], likelihood.sizes["draw"]
    picked = np.linspace(0, n - 1, min(n, OBSERVATIONS)).astype(int)
    names = [str(k) for k, v in posterior.items() if v.ndim == 3]
    total = np.sum([log_prior[name] for name in names], axis=0)
    flat = scalar_latents(posterior)  # angles unwrapped
    values = np.zeros((len(COMPONENTS), len(names), len(picked)))
    for column, i in enumerate(picked):
        draws = {k: flat[k][None, :, i] for k in names}
        first = {k: v[:, :few] for k, v in draws.items()}
        by_prior = az.from_dict(posterior=draws)
        by_prior.add_groups({"log_prior": _prior_group(total[:, i])})
        likelihoods = {"x": _finite(likelihood.values[:, :, i])}
        by_data = az.from_dict(posterior=first, log_likelihood=likelihoods)
        if np.ptp(total[:, i]) > 0:  # else there is nothing to scale, and nothing moves
            values[0, :, column] = _scaled(by_prior, "prior", names)
        values[1, :, column] = _scaled(by_data, "likelihood", names)
    coords = {"component": list(COMPONENTS), "latent": names, "observation": picked}
    near = [_distance(posterior[n].values[..., picked], (bounds or {}).get(n)) for n in names]
    variables = {
        "sensitivity": (tuple(coords), values),
        "bound": (("latent", "observation"), np.stack(near)),
    }
    return xr.Dataset(variables, coords, {"draws": few})


def _distance(draws: np.ndarray, bounds: tuple[float, float] | None) -> np.ndarray:
    """Of the mean of (chain, draw, observation) from the nearest bound, standard deviations."""
    if bounds is None:
        return np.full(draws.shape[-1], np.inf)
    mean, spread = draws.mean(axis=(0, 1)), draws.std(axis=(0, 1))
    return np.minimum(mean - bounds[0], bounds[1] - mean) / np.maximum(spread, 1e-12)


def share_felt(result: xr.Dataset, latent: str) -> float:
    """Share of the observations for which scaling the priors, or a bound, moves a latent."""
    scaled = result["sensitivity"].sel(component="prior", latent=latent)
    known = np.isfinite(scaled)
    felt = (scaled > SENSITIVE) | (result["bound"].sel(latent=latent) < NEAR)
    return float(felt[known].mean())


def _finite(likelihood: np.ndarray) -> np.ndarray:
    flat = likelihood.reshape(*likelihood.shape[:2], -1)
    return np.asarray(flat[..., np.isfinite(flat).all(axis=(0, 1))])


def _prior_group(values: np.ndarray) -> xr.Dataset:
    return xr.Dataset({"latents": (("chain", "draw"), values[None])})


def _scaled(one: az.InferenceData, component: str, names: list[str]) -> np.ndarray:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        result = az.psens(one, component=component)
    return np.array([float(result[name]) for name in names])


def check_power_scaling(result: xr.Dataset) -> list[Verdict]:
    """One verdict for each physics latent."""
    return [_check_one(result, str(name)) for name in result["latent"].values]


def _check_one(result: xr.Dataset, latent: str) -> Verdict:
    scaled = result["sensitivity"].sel(component="prior", latent=latent)
    name, n = f"prior sensitivity of {latent}", int(np.isfinite(scaled).sum())
    if n < FEWEST:
        return too_few(name, n, FEWEST, GOOD)
    value = share_felt(result, latent)
    level = grade(value, GOOD, DOUBTFUL)
    percent = f"{100 * value:.0f} % of the observations"
    if bool(np.isfinite(result["bound"].sel(latent=latent)).any()):
        return Verdict(name, level, _of_uniform(level, percent), value, GOOD, n)
    meaning = worded(
        level,
        good="A somewhat stronger or weaker prior would leave most answers as they are.",
        bad=f"For {percent} the priors move the answer: refit with another reasonable prior and "
        "report both.",
    )
    return Verdict(name, level, meaning, value, GOOD, n)


def _of_uniform(level: Level, percent: str) -> str:
    return worded(
        level,
        good="Its prior is uniform, so only the bounds could be tested: most posteriors lie well "
        "inside. What a prior of another shape would do, only a refit tells.",
        bad=f"For {percent} a bound of its uniform prior is within two standard deviations (or "
        "other priors move it): refit with wider bounds where physics allows them.",
    )


def plot_power_scaling(result: xr.Dataset) -> Figure:
    """What the prior does to each observation against what the likelihood does.

    Of a uniform prior: how near its bounds are.
    """
    names = [str(n) for n in result["latent"].values]
    most = max(names, key=lambda name: share_felt(result, name))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with house_style():
        figure, grid = plt.subplots(
            rows, columns, figsize=(max(5.2, 3.0 * columns), 2.6 * rows + 0.6), squeeze=False
        )
        for axes, name in zip(grid.flat, names, strict=False):
            _draw_one(axes, result.sel(latent=name))
            axes.set_title(f"{name}: felt in {100 * share_felt(result, name):.0f} %", fontsize=9)
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel("sensitivity to the likelihood")
        headline(
            figure,
            f"The priors move {most} in {100 * share_felt(result, most):.0f} % of "
            f"{result.sizes['observation']} observations, the others less often\n"
            "(dashed: where they begin to be felt)"
            if len(names) > 1
            else f"The prior moves {most} in {100 * share_felt(result, most):.0f} % of "
            f"{result.sizes['observation']} observations (dashed: felt)",
        )
    return figure


def _draw_one(axes: Axes, one: xr.Dataset) -> None:
    likelihood = one["sensitivity"].sel(component="likelihood")
    uniform = bool(np.isfinite(one["bound"]).any())
    across = one["bound"] if uniform else one["sensitivity"].sel(component="prior")
    axes.plot(across, likelihood, "o", ms=3, color=FULL)
    axes.axvline(NEAR if uniform else SENSITIVE, color=PHYSICS, ls="--", lw=1)
    axes.axhline(SENSITIVE, color=PHYSICS, ls="--", lw=1)
    if uniform:
        axes.set_xscale("symlog", linthresh=10)
    axes.set_xlabel("nearest bound (posterior sd away)" if uniform else "sensitivity to the prior")
