"""Several runs as one posterior, weighted by the evidence of what was held out, and of each one.

Runs that differ in residual, penalties or seed split the motion differently between physics and
residual; their mixture carries what none of them knows alone. The mixture is of the laws that an
observation may follow: what is drawn for it comes from each run in proportion to that run's weight
times its evidence of this very observation. Source: Yao, Vehtari, Simpson & Gelman (2018), Using
stacking to average Bayesian predictive distributions, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from groundvae.data.errors import InputError
from groundvae.inference import arviz as az
from groundvae.inference.importance import DRAW_GROUPS, iwae
from groundvae.inference.inferencedata import assembled
from groundvae.models.greybox import AUXILIARY

KEPT = ("observed_data", "constant_data")


def stacking_weights(log_density: np.ndarray) -> np.ndarray:
    """Weights (run,) of the mixture of highest log density of what was held out.

    ``log_density`` (observation, run), nats: each run's bound of the evidence. A convex problem,
    solved on the simplex by softmax.

    >>> stacking_weights(np.log([[0.9, 0.1], [0.1, 0.9]])).round(3).tolist()
    [0.5, 0.5]
    """
    ratio = log_density - log_density.max(axis=1, keepdims=True)

    def lost(free: np.ndarray) -> tuple[float, np.ndarray]:
        weights = softmax(free)
        joint = ratio + np.log(weights)
        share = softmax(joint, axis=1).mean(0)
        return -float(logsumexp(joint, axis=1).mean()), weights - share

    found = minimize(lost, np.zeros(ratio.shape[1]), jac=True, method="L-BFGS-B")
    return np.asarray(softmax(found.x))


def log_evidence(posterior: az.InferenceData) -> np.ndarray:
    """Log p(x) of each observation (observation,), nats: the guide's own, or the bound of draws.

    Raises:
        InputError: the posterior has neither.

    """
    constant = posterior["constant_data"] if "constant_data" in posterior else xr.Dataset()
    if "log_evidence" in constant:
        return np.asarray(constant["log_evidence"].values, dtype=float)
    if "sample_stats" in posterior and "log_weight" in posterior["sample_stats"]:
        return iwae(np.concatenate(posterior["sample_stats"]["log_weight"].values).astype(float))
    raise InputError("the posterior says nothing of its evidence, expected one of a guide")


def stack(
    posteriors: Sequence[az.InferenceData], weights: np.ndarray, seed: int = 0
) -> az.InferenceData:
    """The mixture of posteriors of the same observations; each draw is one of one run.

    ``z_aux`` and importance weights are left out: they mean nothing beyond their own run.
    ``stacking`` holds the weights (run,), the ``share`` of each run (run, observation), and the
    run of each draw (draw, observation).

    Raises:
        InputError: the posteriors are of different systems, data or numbers of draws, or one does
            not say its evidence.

    """
    first = posteriors[0]
    for other in posteriors[1:]:
        if other.attrs.get("system") != first.attrs.get("system"):
            raise InputError(
                f"a posterior is of {other.attrs.get('system')}, the first of "
                f"{first.attrs.get('system')}, expected one system"
            )
        same = first["observed_data"].equals(other["observed_data"])
        if not same or other["posterior"].sizes["draw"] != first["posterior"].sizes["draw"]:
            raise InputError("the posteriors are of other observations or draws, expected the same")
    draws = first["posterior"].sizes["draw"]
    with np.errstate(divide="ignore"):
        joint = np.log(weights) + np.stack([log_evidence(p) for p in posteriors], 1)
    share = softmax(np.nan_to_num(joint, nan=-np.inf), axis=1)  # (observation, run)
    unit = np.random.default_rng(seed).random((draws, len(share), 1))
    chosen = (unit > np.cumsum(share, 1)[:, :-1]).sum(-1)
    groups = {
        group: _mixed([p[group] for p in posteriors], chosen)
        for group in DRAW_GROUPS
        if all(group in p for p in posteriors)
    }
    groups |= {group: first[group] for group in KEPT if group in first}
    found = {
        "weight": ("run", weights),
        "share": (("run", "observation"), share.T),
        "run_of_draw": (("draw", "observation"), chosen),
    }
    groups["stacking"] = xr.Dataset(found)
    return assembled(groups, first.attrs)


def _mixed(parts: Sequence[xr.Dataset], chosen: np.ndarray) -> xr.Dataset:
    """One group: draw i of the run that was chosen (draw, observation) for it."""
    shared = [
        str(name)
        for name in parts[0].data_vars
        if name != AUXILIARY and all(name in part for part in parts)
    ]
    n, count = parts[0].sizes["draw"], parts[0].sizes["observation"]
    together = xr.concat([part[shared] for part in parts], "run", join="override")
    picked = together.isel(
        run=xr.DataArray(chosen[:n], dims=("draw", "observation")),
        draw=xr.DataArray(np.arange(n), dims="draw"),
        observation=xr.DataArray(np.arange(count), dims="observation"),
    )
    for name in shared:  # units
        picked[name].attrs.update(parts[0][name].attrs)
    return picked.transpose("chain", "draw", "observation", ...).assign_coords(draw=np.arange(n))
