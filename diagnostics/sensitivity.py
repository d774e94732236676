"""Power-scaling: would a little more or less prior, or data, move a latent?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.latents import scalar_latents
from groundvae.diagnostics.style import FULL, PHYSICS, headline, house_style
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded

OBSERVATIONS = 40  # each takes two weightings
SENSITIVE = 0.05  # of Kallioinen et al.
GOOD, DOUBTFUL = 0.25, 0.5  # share of the observations whose prior is felt
COMPONENTS = ("prior", "likelihood")


def compute_sensitivity(
    inference_data: az.InferenceData, log_prior: Mapping[str, np.ndarray]
) -> xr.Dataset:
    """Sensitivity (component, latent, observation) of the physics latents of some observations.

    ``log_prior`` (draw, observation) by name. The priors of the physics latents are scaled
    together; a uniform prior stays as it is. Each observation is a posterior of its own. The
    draws are the guide's, so this says what reweighting them does. Source: Kallioinen,
    Paananen, Buerkner & Vehtari (2023).
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
        values[0, :, column] = _scaled(by_prior, "prior", names)
        values[1, :, column] = _scaled(by_data, "likelihood", names)
    coords = {"component": list(COMPONENTS), "latent": names, "observation": picked}
    return xr.Dataset({"sensitivity": (tuple(coords), values)}, coords, {"draws": few})


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


def check_sensitivity(result: xr.Dataset) -> list[Verdict]:
    """One verdict for each physics latent."""
    return [_check_one(result, str(name)) for name in result["latent"].values]


def _check_one(result: xr.Dataset, latent: str) -> Verdict:
    felt = result["sensitivity"].sel(component="prior", latent=latent)
    felt = felt[np.isfinite(felt)]
    name, n = f"prior sensitivity of {latent}", felt.sizes["observation"]
    if n < FEWEST:
        return too_few(name, n, FEWEST, GOOD)
    value = float((felt > SENSITIVE).mean())
    level = grade(value, GOOD, DOUBTFUL)
    meaning = worded(
        level,
        good="Another reasonable prior would leave most answers as they are.",
        bad=f"For {100 * value:.0f} % of the observations the priors move the answer: refit "
        "with another reasonable prior and report both.",
    )
    return Verdict(name, level, meaning, value, GOOD, n)


def plot_sensitivity(result: xr.Dataset) -> Figure:
    """Sensitivity to the prior against that to the likelihood, one point an observation."""
    names = [str(n) for n in result["latent"].values]
    with house_style():
        figure, grid = plt.subplots(
            1, len(names), figsize=(1.2 + 2.7 * len(names), 3.1), squeeze=False
        )
        for axes, name in zip(grid.flat, names, strict=True):
            one = result["sensitivity"].sel(latent=name)
            axes.plot(*(one.sel(component=c) for c in COMPONENTS), "o", ms=3, color=FULL)
            axes.axvline(SENSITIVE, color=PHYSICS, ls="--", lw=1)
            axes.axhline(SENSITIVE, color=PHYSICS, ls="--", lw=1)
            felt = float((one.sel(component="prior") > SENSITIVE).mean())
            axes.set_title(f"{name}: prior felt in {100 * felt:.0f} %", fontsize=9)
            axes.set_xlabel("sensitivity to the prior")
        grid.flat[0].set_ylabel("sensitivity to the likelihood")
        count = result.sizes["observation"]
        headline(figure, f"Power-scaling of {count} observations (dashed: 0.05, felt)")
    return figure
