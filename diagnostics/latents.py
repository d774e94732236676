"""The scalar latents of an InferenceData, by name, with what is known of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from groundvae.diagnostics.score import unwrap
from groundvae.inference import arviz as az
from groundvae.models.circle import cut_open
from groundvae.models.greybox import AUXILIARY


@dataclass(frozen=True)
class KnownLatent:
    """A physics latent whose truth is known; angles are unwrapped around the draws.

    ``draws`` (draw, observation), ``truth`` (observation,), both without the observations
    whose truth is missing (NaN).
    """

    name: str
    draws: np.ndarray
    truth: np.ndarray
    unit: str = ""
    period: float | None = None


def known_latents(
    inference_data: az.InferenceData, periods: Mapping[str, float] | None = None
) -> Iterator[KnownLatent]:
    """Each physics latent with known truth.

    ``periods`` of the angles that wrap; without it, the variables' attribute ``period``.
    """
    if "constant_data" not in inference_data or "posterior" not in inference_data:
        return
    truths = inference_data["constant_data"]
    for name, variable in inference_data["posterior"].data_vars.items():
        if name not in truths or not np.isfinite(truths[name].values).any():
            continue
        draws = np.concatenate(variable.values)
        known = np.isfinite(truths[name].values)
        period = period_of(variable, periods)
        lifted, truth = unwrap(draws[:, known], truths[name].values[known], period)
        yield KnownLatent(str(name), lifted, truth, str(variable.attrs.get("units", "")), period)


def period_of(variable: xr.DataArray, periods: Mapping[str, float] | None) -> float | None:
    """The period of an angle that wraps; None for other latents."""
    known = (periods or {}).get(str(variable.name), variable.attrs.get("period"))
    return None if known is None else float(known)


def scalar_latents(
    posterior: xr.Dataset, periods: Mapping[str, float] | None = None
) -> dict[str, np.ndarray]:
    """Draws (draw, observation) of every scalar latent; ``z_aux`` by its parts, angles unwrapped.

    Hyperparameters, which belong to no observation, are none of them.

    >>> z = xr.Variable(("chain", "draw", "observation", "z_aux_dim"), np.zeros((1, 5, 2, 2)))
    >>> list(scalar_latents(xr.Dataset({"z_aux": z})))
    ['z_aux[0]', 'z_aux[1]']
    """
    found: dict[str, np.ndarray] = {}
    for name, variable in posterior.data_vars.items():
        if "observation" not in variable.dims:
            continue
        draws = np.concatenate(variable.values)
        if draws.ndim == 2:
            period = period_of(variable, periods)
            found[str(name)] = draws if period is None else cut_open(draws, period)
            continue
        flat = draws.reshape(*draws.shape[:2], -1)
        found |= {f"{name}[{i}]": flat[..., i] for i in range(flat.shape[-1])}
    return found


def is_auxiliary(name: str) -> bool:
    """Whether a scalar latent is a part of ``z_aux``.

    >>> is_auxiliary("z_aux[3]"), is_auxiliary("omega")
    (True, False)
    """
    return name.split("[")[0] == AUXILIARY


def names_of(result: xr.Dataset) -> list[str]:
    """The scalar latents of a result with the axis ``latent``."""
    return [str(name) for name in result["latent"].values]


def physics_parts(result: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """What a result says of each physics latent, by name."""
    for name in names_of(result):
        if not is_auxiliary(name):
            yield name, result.sel(latent=name)


def worst_auxiliary(off: xr.DataArray) -> list[str]:
    """The part of ``z_aux`` that is furthest ``off`` (latent, ...), median; none without one."""
    found = {str(n): float(off.sel(latent=n).median()) for n in off["latent"].values}
    auxiliary = [n for n in found if is_auxiliary(n)]
    return [max(auxiliary, key=lambda n: found[n])] if auxiliary else []
