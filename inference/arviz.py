"""ArviZ as it is installed: the one file that knows 0.2x from 1.x.

ArviZ 1.x (Python 3.12 and newer) gave up InferenceData for xarray's DataTree, and renamed what the
package uses. Everything else imports this in place of ArviZ.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.special import logsumexp
from scipy.stats import binom

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # ArviZ announces its next major version
    arviz: Any = import_module("arviz")

TREES = int(arviz.__version__.split(".")[0]) >= 1
"""Whether ArviZ has trees in place of InferenceData."""
SIMULATIONS = 100_000  # of an ECDF, for its band under 1.x

array_stats: Any = import_module("arviz_stats.base").array_stats if TREES else None
ecdf: Any = import_module("arviz_stats.ecdf_utils" if TREES else "arviz.stats.ecdf_utils")
if TYPE_CHECKING or TREES:
    from groundvae.inference.groups import InferenceData as InferenceData
else:
    InferenceData = arviz.InferenceData


def drawn(arrays: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Arrays (chain, draw, ...) as variables."""
    found = {
        name: (("chain", "draw", *(f"{name}_dim_{i}" for i in range(array.ndim - 2))), array)
        for name, array in arrays.items()
    }
    return xr.Dataset(found)


def from_groups(**groups: xr.Dataset) -> InferenceData:
    """Datasets by the names of their groups, custom ones too."""
    return InferenceData(**groups, warn_on_custom_groups=False)


def from_netcdf(path: Path | str) -> InferenceData:
    """What ``to_netcdf`` of either version wrote."""
    if not TREES:
        found: InferenceData = arviz.from_netcdf(str(path))
        return found
    tree = xr.open_datatree(path, engine="h5netcdf")
    groups = {name: child.to_dataset() for name, child in tree.children.items()}
    return InferenceData(attrs=tree.attrs, **groups)


def to_netcdf(inference_data: InferenceData, path: Path) -> None:
    """Write NetCDF, not compressed."""
    how: dict[str, Any] = {} if TREES else {"compress": False}
    inference_data.to_netcdf(str(path), engine="h5netcdf", **how)


def put_group(inference_data: InferenceData, name: str, group: xr.Dataset) -> None:
    """Add a group, or put it in the place of the one of its name."""
    if not TREES and name in inference_data:
        setattr(inference_data, name, group)
    else:
        inference_data.add_groups({name: group}, warn_on_custom_groups=False)


def psislw(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed, normalized log weights (..., draw) and Pareto's k-hat (...) of ``log_weights``."""
    if not TREES:
        smoothed, k_hat = arviz.psislw(log_weights.copy())
        return np.asarray(smoothed), np.asarray(k_hat)
    flat = log_weights.reshape(-1, log_weights.shape[-1]).astype(float)
    rows = [_smoothed(row) for row in flat]
    shape = log_weights.shape
    weights, shapes = np.stack([row[0] for row in rows]), np.array([row[1] for row in rows])
    return weights.reshape(shape), shapes.reshape(shape[:-1])


def _smoothed(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Of one row (draw,), by 1.x, which fails where a tail is too short, all ties, or cut off."""
    with suppress(ValueError):
        smoothed, k_hat = array_stats.psislw(-log_weights)
        if not np.isfinite(smoothed[np.isneginf(log_weights)]).any():  # what has none stays so
            return smoothed, float(k_hat)
    return log_weights - logsumexp(log_weights), np.inf


def loo_pit(y: np.ndarray, y_hat: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
    """LOO-PIT (sample,) of ``y`` (sample,) by weighted replicates ``y_hat`` (sample, draw)."""
    if not TREES:
        return np.asarray(arviz.loo_pit(y=y, y_hat=y_hat, log_weights=log_weights))
    one = partial(array_stats.loo_pit, chain_axis=None, draw_axis=-1)
    rows = zip(y, y_hat, log_weights, strict=True)
    return np.array([float(np.squeeze(one(hat, seen, weight))) for seen, hat, weight in rows])


def psens(posterior: xr.Dataset, component: str, density: xr.Dataset) -> xr.Dataset:
    """Sensitivity of a posterior (chain, draw) to scaling the ``density`` of one component.

    ``component``: ``prior`` or ``likelihood``, whose log density of each draw ``density`` holds.
    """
    one = from_groups(**{"posterior": posterior, f"log_{component}": density})
    found: xr.Dataset = (
        arviz.psense(one, group=component) if TREES else arviz.psens(one, component=component)
    )
    return found


def loo(inference_data: Any, **how: Any) -> Mapping[str, Any]:
    """ArviZ's own LOO of one variable: ``elpd``, ``se`` and, if pointwise, ``pareto_k``."""
    found = arviz.loo(inference_data, **how)
    names = {"elpd": "elpd" if TREES else "elpd_loo", "se": "se", "pareto_k": "pareto_k"}
    return {name: getattr(found, own) for name, own in names.items() if hasattr(found, own)}


def rhat(posterior: xr.Dataset) -> xr.Dataset:
    """Rank-normalized R-hat of variables (chain, draw, ...)."""
    found: xr.Dataset = arviz.rhat(posterior)
    return found


def ess(posterior: xr.Dataset, method: str) -> xr.Dataset:
    """Effective sample size, ``bulk`` or ``tail``, of variables (chain, draw, ...)."""
    found: xr.Dataset = arviz.ess(posterior, method=method)
    return found


def kde(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where (point,) and how high (point,) the density of draws (draw,) is."""
    found: tuple[Any, ...] = array_stats.kde(draws) if TREES else arviz.kde(draws)
    return np.asarray(found[0]), np.asarray(found[1])


def ecdf_band(n: int, levels: np.ndarray, probability: float) -> tuple[np.ndarray, np.ndarray]:
    """Simultaneous band (level,) of the ECDF of ``n`` uniform values; by simulation under 1.x."""
    if not TREES:
        low, high = ecdf.ecdf_confidence_band(n, levels, levels, probability)
        return low, high
    shares = np.diff(levels, prepend=0.0, append=1.0)
    counts = np.random.default_rng(0).multinomial(n, shares, SIMULATIONS).cumsum(1)[:, :-1]
    tails = np.minimum(binom.cdf(counts, n, levels), binom.sf(counts - 1, n, levels)).min(1)
    pointwise = np.quantile(1 - 2 * tails, probability)
    low, high = ecdf.get_pointwise_confidence_band(pointwise, n, levels)
    return low, high
