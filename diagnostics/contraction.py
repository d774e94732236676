"""Contraction, KL and active units: did the data reach each latent, or did it collapse?"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import differential_entropy

from groundvae.diagnostics.latents import is_auxiliary
from groundvae.diagnostics.style import FULL, OTHER, house_style
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded

ACTIVE = 0.01  # variance of the posterior mean, in prior variances; Burda et al. (2016)
GOOD, DOUBTFUL = 0.5, 0.1
DRAWS = 50  # below, the entropy of the draws says nothing


def compute_contraction(
    draws: Mapping[str, np.ndarray],
    prior_variance: Mapping[str, float],
    log_prior: Mapping[str, np.ndarray] | None = None,
) -> xr.Dataset:
    """Contraction and marginal KL of each latent (latent, observation), activity (latent,).

    ``contraction = 1 - posterior variance / prior variance``; ``kl`` (nats) from the posterior
    to the prior, by the Vasicek entropy of the draws; ``activity`` the variance of the posterior
    mean over observations, in prior variances: an active unit has more than 0.01 (Burda, Grosse
    & Salakhutdinov 2016, appendix C).

    >>> rng = np.random.default_rng(0)
    >>> collapsed = compute_contraction({"a": rng.normal(size=(2000, 30))}, {"a": 1.0})
    >>> bool(abs(collapsed["contraction"]).mean() < 0.1), bool(collapsed["activity"][0] < 0.01)
    (True, True)
    """
    names = list(draws)
    spread = [draws[n].var(axis=0) / prior_variance[n] for n in names]
    variables = {
        "contraction": (("latent", "observation"), 1 - np.stack(spread)),
        "activity": ("latent", [draws[n].mean(0).var() / prior_variance[n] for n in names]),
    }
    result = xr.Dataset(variables, {"latent": names})
    if log_prior is not None and len(draws[names[0]]) >= DRAWS:
        kl = [_divergence(draws[n], log_prior[n]) for n in names]
        result["kl"] = (("latent", "observation"), np.stack(kl))
    return result


def _divergence(draws: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        entropy = differential_entropy(draws, axis=0)
    return np.maximum(-entropy - log_prior.mean(axis=0), 0.0)  # the estimate is noisy


def check_contraction(result: xr.Dataset) -> list[Verdict]:
    """One verdict for each physics latent, and one for all of ``z_aux``."""
    names = [str(n) for n in result["latent"].values]
    verdicts = [_check_one(result.sel(latent=n), n) for n in names if not is_auxiliary(n)]
    auxiliary = result.isel(latent=[i for i, n in enumerate(names) if is_auxiliary(n)])
    return verdicts + ([_check_auxiliary(auxiliary)] if auxiliary.sizes["latent"] else [])


def _check_one(latent: xr.Dataset, name: str) -> Verdict:
    n = latent.sizes["observation"]
    if n < FEWEST:
        return too_few(f"contraction of {name}", n, FEWEST, GOOD)
    value = float(latent["contraction"].median())
    level = grade(value, GOOD, DOUBTFUL)
    meaning = worded(
        level,
        good="The data inform this latent: its posterior is much narrower than its prior.",
        doubtful="The data inform this latent only a little: the prior matters, so choose it "
        "with care and report it.",
        bad="The posterior is about the prior: the data say nothing about this latent, and its "
        "good calibration would mean nothing either.",
    )
    return Verdict(f"contraction of {name}", level, meaning, value, GOOD, n)


def _check_auxiliary(auxiliary: xr.Dataset) -> Verdict:
    n, units = auxiliary.sizes["observation"], auxiliary.sizes["latent"]
    if n < FEWEST:
        return too_few("active units of z_aux", n, FEWEST, 1)
    active = int((auxiliary["activity"] > ACTIVE).sum())
    level = grade(active, 1, 0)
    meaning = worded(
        level,
        good=f"{active} of {units} auxiliary latents carry something about the data."
        + (" A smaller z_aux would do." if active < units else ""),
        bad="No auxiliary latent carries anything: the residual is the same for every "
        "observation; lower the penalties, or fit physics-only.",
    )
    return Verdict("active units of z_aux", level, meaning, active, 1, n)


def plot_contraction(result: xr.Dataset) -> Figure:
    """Contraction of every latent over the observations, as boxes of the central halves."""
    names = [str(n) for n in result["latent"].values]
    weakest = names[int(result["contraction"].median("observation").values.argmin())]
    with house_style():
        figure, axes = plt.subplots(figsize=(5.2, 1.2 + 0.32 * len(names)))
        boxes = axes.boxplot(
            np.clip(result["contraction"].values.T, -0.5, 1),
            orientation="horizontal",
            patch_artist=True,
            showfliers=False,
            whis=(5, 95),
            medianprops={"color": "black"},
        )
        for box, name in zip(boxes["boxes"], names, strict=True):
            box.set_facecolor(OTHER if is_auxiliary(name) else FULL)
        axes.set_yticks(range(1, len(names) + 1), [_annotated(result, n) for n in names])
        axes.invert_yaxis()
        axes.set_xlabel("contraction (0: the prior, 1: certain); box: half, line: 90 %")
        axes.set_title(f"The data inform {weakest} least")
    return figure


def _annotated(result: xr.Dataset, name: str) -> str:
    if "kl" not in result:
        return name
    return f"{name} (KL {float(result['kl'].sel(latent=name).median()):.1f} nats)"
