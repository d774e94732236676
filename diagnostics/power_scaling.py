"""Power-scaling: would a little more or less prior, or data, move a latent?

``az.psens`` does the scaling. A uniform prior has no strength to scale: all that it says is its
bounds, so for one the distance of the posterior from the nearest bound is looked at as well.
Misleads: bounds that are far say nothing of a prior of another shape; draws are the guide's, so
this says what reweighting them does. Source: Kallioinen, Paananen, Buerkner & Vehtari (2023).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, ScalarFormatter

from groundvae.diagnostics.check import (
    ENOUGH_DRAWS,
    LIKELIHOOD,
    PHYSICS_LATENTS,
    Check,
    by_latent,
    registered,
)
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.latents import physics_parts, scalar_latents
from groundvae.diagnostics.style import FULL, PHYSICS, choose, panels
from groundvae.diagnostics.verdict import Level
from groundvae.inference import arviz as az

OBSERVATIONS = 40  # each takes two weightings
SENSITIVE = 0.05  # of Kallioinen et al.
COMPONENTS = ("prior", "likelihood")
TICKS = (0, 2, 5, 10, 30, 100, 300, 1000, 3000)  # standard deviations
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
    together. Each observation is a posterior of its own. ``bounds`` of the latents whose prior is
    uniform (and on a line): ``bound`` (latent, observation) is the distance of the posterior's
    mean from the nearest one, in its standard deviations, and infinite for other priors.
    """
    posterior, likelihood = inference_data["posterior"], inference_data["log_likelihood"]["x"]
    n, few = posterior.sizes["observation"], likelihood.sizes["draw"]
    picked = choose(n, OBSERVATIONS)
    names = [str(k) for k, v in posterior.items() if v.ndim == 3]
    total = np.sum([log_prior[name] for name in names], axis=0)
    flat = scalar_latents(posterior)  # angles unwrapped
    values = np.zeros((len(COMPONENTS), len(names), len(picked)))
    for column, i in enumerate(picked):
        draws = {k: flat[k][None, :, i] for k in names}
        first = {k: v[:, :few] for k, v in draws.items()}
        if np.ptp(total[:, i]) > 0:  # else there is nothing to scale, and nothing moves
            values[0, :, column] = _scaled(draws, "prior", {"latents": total[None, :, i]})
        likelihoods = {"x": _finite(likelihood.values[:, :, i])}
        values[1, :, column] = _scaled(first, "likelihood", likelihoods)
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


def share_felt(part: xr.Dataset) -> float:
    """Share of the observations for which scaling the priors, or a bound, moves the latent."""
    scaled = part["sensitivity"].sel(component="prior")
    felt = (scaled > SENSITIVE) | (part["bound"] < NEAR)
    return float(felt[np.isfinite(scaled)].mean())


def _finite(likelihood: np.ndarray) -> np.ndarray:
    flat = likelihood.reshape(*likelihood.shape[:2], -1)
    return np.asarray(flat[..., np.isfinite(flat).all(axis=(0, 1))])


def _scaled(
    draws: Mapping[str, np.ndarray], component: str, density: Mapping[str, np.ndarray]
) -> np.ndarray:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        result = az.psens(az.drawn(draws), component, az.drawn(density))
    return np.array([float(result[name]) for name in draws])


@registered
class PowerScaling(Check):
    """Whether the priors, or the bounds of uniform ones, are felt by each physics latent."""

    name, title, subject = "power_scaling", "Power-scaling", "prior sensitivity of {of}"
    alternative = "Sensitivity of each physics latent to the prior against that to the likelihood."
    caption = (
        "Right of the dashed line the prior matters. High on both: prior and data disagree. "
        "Reweighted draws of the guide, so doubtful where k-hat is high."
    )
    needs = (LIKELIHOOD, PHYSICS_LATENTS, ENOUGH_DRAWS)
    good, doubtful = 0.25, 0.5  # share of the observations whose prior is felt
    sentences = {
        "good": "A somewhat stronger or weaker prior would leave most answers as they are.",
        "bad": "For {percent:.0f} % of the observations the priors move the answer: refit with "
        "another reasonable prior and report both.",
        "far": "Its prior is uniform, so only the bounds could be tested: most posteriors lie well "
        "inside. What a prior of another shape would do, only a refit tells.",
        "near": "For {percent:.0f} % of the observations a bound of its uniform prior is within "
        "two standard deviations (or other priors move it): refit with wider bounds where physics "
        "allows them.",
    }
    metric_words = {
        "{latent}_prior_sensitivity": "power-scaling of the priors, median; above 0.05 is felt",
        "{latent}_likelihood_sensitivity": "power-scaling of the likelihood, median",
    }

    def compute(self, context: Context) -> xr.Dataset:
        return compute_power_scaling(context.inference_data, context.log_prior, context.bounds)

    def observations(self, part: xr.Dataset) -> int:
        return int(np.isfinite(part["sensitivity"].sel(component="prior")).sum())

    def value(self, part: xr.Dataset) -> float:
        return share_felt(part)

    def case(self, part: xr.Dataset, level: Level) -> str:
        if _uniform(part):
            return "far" if level == "good" else "near"
        return level

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        each = result["sensitivity"]
        found = (by_latent(each.sel(component=c), f"{c}_sensitivity") for c in COMPONENTS)
        return {k: v for part in found for k, v in part.items()}

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        return panels(result.sizes["latent"], (3.0, 2.6), (0, 0.6))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        percent = {name: 100 * share_felt(part) for name, part in physics_parts(result)}
        for axes, (name, part) in zip(grid.flat, physics_parts(result), strict=False):
            _draw_one(axes, part)
            axes.set_title(f"{name}: felt in {percent[name]:.0f} %", fontsize=9)
        for row in grid:
            row[0].set_ylabel("sensitivity to the likelihood")
        most = max(percent, key=lambda name: percent[name])
        many = f"{most} in {percent[most]:.0f} % of {result.sizes['observation']} observations"
        return (
            f"The priors move {many}, the others less often\n(dashed: where they begin to be felt)"
            if len(percent) > 1
            else f"The prior moves {many} (dashed: felt)"
        )


def _uniform(part: xr.Dataset) -> bool:
    return bool(np.isfinite(part["bound"]).any())


def _draw_one(axes: Axes, one: xr.Dataset) -> None:
    likelihood = one["sensitivity"].sel(component="likelihood")
    uniform = _uniform(one)
    across = one["bound"] if uniform else one["sensitivity"].sel(component="prior")
    axes.plot(across, likelihood, "o", ms=3, color=FULL)
    axes.axvline(NEAR if uniform else SENSITIVE, color=PHYSICS, ls="--", lw=1)
    axes.axhline(SENSITIVE, color=PHYSICS, ls="--", lw=1)
    if uniform:
        axes.set_xscale("symlog", linthresh=10)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(FixedLocator(TICKS))
        axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("nearest bound (posterior sd away)" if uniform else "sensitivity to the prior")
