"""The hand-over to ArviZ: what builds an InferenceData, and stores one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from torch import Tensor

from groundvae.data.atomic import replacing
from groundvae.data.dataset import Dataset
from groundvae.data.input import BASE
from groundvae.inference import arviz as az
from groundvae.inference.observed import known_inputs, marks_of, named, seen
from groundvae.models.greybox import AUXILIARY, OBSERVATION, GreyBox

if TYPE_CHECKING:
    from groundvae.data.batch import Batch
    from groundvae.inference.run import Run
    from groundvae.models.system import System

PRIOR_GROUPS = ("prior", "prior_predictive", "noiseless")
WEIGHTS = "unknown_weights"
"""Group of a wide ``z_aux``: that of the draws that are decoded."""


def to_inference_data(
    run: Run,
    data: Dataset,
    groups: Mapping[str, Mapping[str, Tensor]],
    inputs: Mapping[str, Tensor],
    marks: xr.Dataset | None = None,
    *,
    chains: int = 1,
    until: float | None = None,
) -> az.InferenceData:
    """Name every axis and give it coordinates and units.

    Where each observation has times of its own, the axis of time is an index, and ``t``
    (observation, time) stands in ``constant_data``, as known inputs do.

    Args:
        run: the model, and what it was fitted as.
        data: what was observed.
        groups: arrays (chain * draw, observation, ...), chain by chain; those of the prior (draw,
            ...), one chain.
        inputs: of the batch that was predicted at, which may go on beyond the data.
        marks: variables (observation,) that join the truths in ``constant_data``.
        chains: how many there are.
        until: how far is predicted, s; then the weights are of a push that reaches so far.

    """
    system = run.model.system
    coords: dict[str, Any] = {"observation": np.arange(len(data))}
    coords |= _axes(system, _exact({k: v.cpu().numpy() for k, v in inputs.items()}, data))
    coords |= {axis: list(names) for axis, names in system.labels.items()}
    built = {
        group: _with_coords(_variables(run.model, group, values, chains), coords)
        for group, values in groups.items()
    }
    built |= _derived(system, built.get("posterior"), data, coords)
    axes = ("observation", *system.axes)
    observed = xr.Variable(axes, seen(data), {"units": system.unit})
    built["observed_data"] = _with_coords(
        {OBSERVATION: observed}, coords | _axes(system, data.coordinates)
    )
    units = {z.name: z.unit for z in run.model.latents}
    truth = {
        name: xr.Variable(("observation",), np.asarray(value), {"units": units.get(name, "")})
        for name, value in data.truth.items()
    }
    truth |= known_inputs(system, data, inputs) | marks_of(system, data, axes) | named(data)
    constants = truth if marks is None else {str(k): v.variable for k, v in marks.items()} | truth
    built["constant_data"] = _with_coords(constants, coords)
    config = run.config
    attrs = {"system": config.system, "variant": config.variant, "guide": config.how.guide}
    return assembled(built, attrs | ({} if until is None else {"until": float(until)}))


def drawn_inference_data(
    run: Run, groups: Mapping[str, Mapping[str, Tensor]], template: Batch, *, origin: str
) -> az.InferenceData:
    """What was made up: ``groups`` of arrays (draw, ...), at the inputs of ``template``."""
    system = run.model.system
    inputs = {k: v.cpu().numpy() for k, v in template.inputs.items()}
    coords = _axes(system, inputs) | {axis: list(names) for axis, names in system.labels.items()}
    built = {
        group: _with_coords(_variables(run.model, group, values, 1), coords)
        for group, values in groups.items()
    }
    known = [k for k in inputs if k in template.own or k.removeprefix(BASE) in system.inputs]
    if known:
        over = {k: ("draw",) * (k in template.own) for k in known}
        built["constant_data"] = xr.Dataset(
            {
                k: (
                    (*over[k], *(f"{k}_dim_{i}" for i in range(inputs[k].ndim - len(over[k])))),
                    inputs[k],
                )
                for k in known
            }
        )
    attrs = {"system": run.config.system, "variant": run.config.variant, "origin": origin}
    return assembled(built, attrs)


def assembled(
    groups: Mapping[str, xr.Dataset], attrs: Mapping[str, Any] | None = None
) -> az.InferenceData:
    """Groups as one InferenceData."""
    return az.InferenceData(**groups, attrs=dict(attrs or {}), warn_on_custom_groups=False)


def _variables(
    model: GreyBox, group: str, values: Mapping[str, Tensor], chains: int
) -> dict[str, xr.Variable]:
    """The arrays of one group, each with its axes, its unit and its meaning."""
    prior = group in PRIOR_GROUPS
    lead = ("chain", "draw") if prior else ("chain", "draw", "observation")
    units = {OBSERVATION: model.system.unit} | {z.name: z.unit for z in model.latents}
    meanings = {z.name: z.meaning for z in model.latents}
    periods = {z.name: z.period for z in model.latents if z.period is not None}
    variables = {}
    for name, tensor in values.items():
        rest = {AUXILIARY: ("z_aux_dim",), OBSERVATION: model.system.axes}.get(name, ())
        attrs: dict[str, Any] = {
            "units": units.get(name, ""),
            "long_name": meanings.get(name, name),
        }
        period = {"period": periods[name]} if name in periods else {}
        array = tensor.detach().cpu().numpy()
        if group in ("log_likelihood", "sample_stats") and array.dtype.kind == "f":
            array = array.astype(float)  # sums over samples, and their exponentials
        array = array.reshape(1 if prior else chains, -1, *array.shape[1:])
        own = lead[:2] if name in model.latents.hyper else lead
        variables[name] = xr.Variable((*own, *rest), array, {**attrs, **period})
    return variables


def _derived(
    system: System, posterior: xr.Dataset | None, data: Dataset, coords: Mapping[str, Any]
) -> dict[str, xr.Dataset]:
    """The group of what the system derives from draws of its latents, where there is any."""
    if posterior is None or not set(system.latents.names) <= set(posterior):
        return {}
    draws = {name: posterior[name].values for name in system.latents.names}
    lead = ("chain", "draw", "observation")
    found = {
        name: xr.Variable(lead, values, {"units": unit, "long_name": meaning})
        for name, (values, unit, meaning) in system.derive(draws, data.truth).items()
    }
    return {"derived": _with_coords(found, coords)} if found else {}


def _axes(system: System, arrays: Mapping[str, np.ndarray]) -> dict[str, xr.Variable]:
    """What labels the axes; times of an observation's own are no label, but an index is."""
    found = {}
    for array, axis in system.coordinates.items():
        if array in arrays:
            values = np.asarray(arrays[array])
            unit = {"units": system.time_unit if array == "t" else ""}
            own = values.ndim > 1
            found[axis] = xr.Variable(
                (axis,),
                np.arange(values.shape[-1]) if own else values.astype(float),
                {} if own else unit,
            )
    return found


def _exact(inputs: Mapping[str, np.ndarray], data: Dataset) -> dict[str, np.ndarray]:
    """Inputs in double precision; what the data hold too is as it stands there.

    So the coordinates of all groups are equal, and groups align.
    """
    found = {}
    for name, value in inputs.items():
        known = data.coordinates.get(name, np.empty(0))
        exact = np.array(value, dtype=float)
        if known.ndim == exact.ndim == 1:
            same = min(len(known), len(exact))
            exact[:same] = known[:same]
        found[name] = exact
    return found


def _with_coords(variables: Mapping[str, xr.Variable], coords: Mapping[str, Any]) -> xr.Dataset:
    used = {str(dim) for variable in variables.values() for dim in variable.dims}
    fitting = {dim: values for dim, values in coords.items() if dim in used}
    for dim in used - set(fitting):  # chains, draws, and axes without values of their own
        sizes = {v.sizes[dim] for v in variables.values() if dim in v.dims}
        fitting[dim] = np.arange(sizes.pop())
    return xr.Dataset(dict(variables), coords=fitting)


def mark(inference_data: az.InferenceData, columns: xr.Dataset) -> None:
    """Put what is known of each observation into ``constant_data``, in place.

    ``columns`` (observation,); what stands there already under the same name is replaced, but for
    its attributes: thresholds that a score was held against.
    """
    group = "constant_data"
    known = inference_data[group] if group in inference_data else xr.Dataset()
    kept = {str(k): known[k].attrs if k in known else {} for k in columns}
    joined = known.assign({k: ("observation", columns[k].values, kept[k]) for k in kept})
    az.put_group(inference_data, group, joined)


def save_inference_data(inference_data: az.InferenceData, path: Path | str) -> None:
    """Write NetCDF, whole or not at all."""
    with replacing(path) as temporary:
        az.to_netcdf(inference_data, temporary)
