"""Several runs as one posterior, weighted by what each says of observations held out.

Runs that differ in residual, penalties or seed split the motion differently between physics and
residual; their mixture carries what none of them knows alone. Source: Yao, Vehtari, Simpson &
Gelman (2018), Using stacking to average Bayesian predictive distributions, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import arviz as az
import numpy as np
import xarray as xr
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from groundvae.data.errors import InputError
from groundvae.inference.importance import DRAW_GROUPS
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


def stack(
    posteriors: Sequence[az.InferenceData], weights: np.ndarray, seed: int = 0
) -> az.InferenceData:
    """The mixture of posteriors of the same observations; each draw is one of one run.

    ``z_aux`` and importance weights are left out: they mean nothing beyond their own run.
    ``stacking`` holds the weights (run,), and the run of each draw (draw,).

    Raises:
        InputError: the posteriors are of different systems, data or numbers of draws.

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
    chosen = np.random.default_rng(seed).choice(len(posteriors), draws, p=weights)
    groups = {
        group: _mixed([p[group] for p in posteriors], chosen)
        for group in DRAW_GROUPS
        if all(group in p for p in posteriors)
    }
    groups |= {group: first[group] for group in KEPT if group in first}
    groups["stacking"] = xr.Dataset({"weight": ("run", weights), "run_of_draw": ("draw", chosen)})
    return assembled(groups, first.attrs)


def _mixed(parts: Sequence[xr.Dataset], chosen: np.ndarray) -> xr.Dataset:
    """One group: draw i of the run that was chosen for it."""
    shared = [
        str(name)
        for name in parts[0].data_vars
        if name != AUXILIARY and all(name in part for part in parts)
    ]
    n = parts[0].sizes["draw"]
    together = xr.concat([part[shared] for part in parts], "run", join="override")
    picked = together.isel(
        run=xr.DataArray(chosen[:n], dims="draw"), draw=xr.DataArray(np.arange(n), dims="draw")
    )
    for name in shared:  # units
        picked[name].attrs.update(parts[0][name].attrs)
    return picked.transpose("chain", "draw", ...).assign_coords(draw=np.arange(n))
