"""The hand-over to ArviZ: the only file that builds an InferenceData, and that stores one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # ArviZ announces its next major version
    import arviz as az
import numpy as np
import xarray as xr
from torch import Tensor

from groundvae.data.atomic import replacing
from groundvae.data.dataset import Dataset
from groundvae.models.greybox import AUXILIARY, OBSERVATION

if TYPE_CHECKING:
    from groundvae.inference.run import Run

COORDINATE_UNITS = {"t": "s"}
PRIOR_GROUPS = ("prior", "prior_predictive")


def to_inference_data(
    run: Run,
    data: Dataset,
    groups: Mapping[str, Mapping[str, Tensor]],
    inputs: Mapping[str, Tensor],
    marks: xr.Dataset | None = None,
    *,
    chains: int = 1,
) -> az.InferenceData:
    """Name every axis and give it coordinates and units.

    ``groups`` hold arrays (chain * draw, observation, ...), chain by chain; those of the prior
    (draw, ...), one chain. ``marks`` (observation,) join the truths in ``constant_data``.
    """
    entry = run.entry
    coords: dict[str, Any] = {"observation": np.arange(len(data))}
    for array, axis in entry.coordinates.items():
        if array in inputs:
            unit = {"units": COORDINATE_UNITS.get(array, "")}
            coords[axis] = xr.Variable((axis,), inputs[array].cpu().numpy(), unit)
    coords |= {axis: list(names) for axis, names in entry.labels.items()}
    units = {z.name: z.unit for z in run.model.latents} | {OBSERVATION: entry.unit}
    meanings = {z.name: z.meaning for z in run.model.latents}
    periods = {z.name: z.period for z in run.model.latents if z.period is not None}

    def dataset(group: str) -> xr.Dataset:
        lead = ("chain", "draw") if group in PRIOR_GROUPS else ("chain", "draw", "observation")
        variables = {}
        shared = run.model.latents.hyper
        for name, tensor in groups[group].items():
            rest = {AUXILIARY: ("z_aux_dim",), OBSERVATION: entry.axes}.get(name, ())
            attrs: dict[str, Any] = {
                "units": units.get(name, ""),
                "long_name": meanings.get(name, name),
            }
            attrs |= {"period": periods[name]} if name in periods else {}
            values = tensor.detach().cpu().numpy()
            values = values.reshape(1 if group in PRIOR_GROUPS else chains, -1, *values.shape[1:])
            own = lead[:2] if name in shared else lead
            variables[name] = xr.Variable((*own, *rest), values, attrs)
        return _with_coords(variables, coords)

    built = {group: dataset(group) for group in groups}
    observed = xr.Variable(("observation", *entry.axes), data.x, {"units": entry.unit})
    own = {
        axis: xr.Variable(
            (axis,),
            np.asarray(data.coordinates[array]),
            {"units": COORDINATE_UNITS.get(array, "")},
        )
        for array, axis in entry.coordinates.items()
        if array in data.coordinates
    }
    built["observed_data"] = _with_coords({OBSERVATION: observed}, coords | own)
    truth = {
        name: xr.Variable(("observation",), np.asarray(value), {"units": units.get(name, "")})
        for name, value in data.truth.items()
    }
    constants = truth if marks is None else {str(k): v.variable for k, v in marks.items()} | truth
    built["constant_data"] = _with_coords(constants, coords)
    inference_data = az.InferenceData(**built, warn_on_custom_groups=False)
    inference_data.attrs.update(
        system=run.config.system, variant=run.config.variant, guide=run.config.guide
    )
    return inference_data


def _with_coords(variables: Mapping[str, xr.Variable], coords: Mapping[str, Any]) -> xr.Dataset:
    used = {dim for variable in variables.values() for dim in variable.dims}
    fitting = {dim: values for dim, values in coords.items() if dim in used}
    for lead in ("chain", "draw"):
        sizes = {v.sizes[lead] for v in variables.values() if lead in v.dims}
        if sizes:
            fitting[lead] = np.arange(sizes.pop())
    return xr.Dataset(dict(variables), coords=fitting)


def save_inference_data(inference_data: az.InferenceData, path: Path) -> None:
    """Write NetCDF, whole or not at all."""
    with replacing(path) as temporary:
        inference_data.to_netcdf(str(temporary), engine="h5netcdf", compress=False)
