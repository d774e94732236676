"""The hand-over to ArviZ: what builds an InferenceData, and stores one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from groundvae.data.atomic import replacing
from groundvae.data.dataset import Dataset
from groundvae.data.input import BASE
from groundvae.data.readers.wanted import CENSORED, ERROR
from groundvae.inference import arviz as az
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
    observed = xr.Variable(axes, _seen(data), {"units": system.unit})
    built["observed_data"] = _with_coords(
        {OBSERVATION: observed}, coords | _axes(system, data.coordinates)
    )
    units = {z.name: z.unit for z in run.model.latents}
    truth = {
        name: xr.Variable(("observation",), np.asarray(value), {"units": units.get(name, "")})
        for name, value in data.truth.items()
    }
    truth |= _known(system, data, inputs) | _marks(system, data, axes)
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


def _known(system: System, data: Dataset, inputs: Mapping[str, Tensor]) -> dict[str, xr.Variable]:
    """Times of each observation's own, padded with NaN, and the inputs that the system declares."""
    found = {}
    if data.own_times:
        ahead = inputs["t"].cpu().numpy()
        stands = np.diff(ahead, axis=1, prepend=-np.inf) <= 0
        same = ahead.shape == data.coordinates["t"].shape
        times = data.coordinates["t"] if same else np.where(stands, np.nan, ahead)
        attrs = {
            "units": system.time_unit,
            "long_name": "time of each sample",
            "role": "coordinate",
        }
        found["t"] = xr.Variable(("observation", "time"), times, attrs)
    for name, declared in system.inputs.items():
        base = BASE + name
        over = (f"{name}_time",) if declared.over and base in data.inputs else declared.over
        attrs = {"units": declared.unit, "long_name": declared.meaning or name, "role": "input"}
        for each, about in ((name, attrs), (base, {"units": system.time_unit, "role": "input"})):
            if each in data.inputs:
                lead = ("observation",) if each in data.own else ()
                values, ahead = data.inputs[each], inputs.get(each, torch.empty(0)).cpu().numpy()
                grown = ahead.ndim == values.ndim and ahead.shape != values.shape
                found[each] = xr.Variable((*lead, *over), ahead if grown else values, about)
    return found


LIMIT = "limit"
"""In ``constant_data``: ``x`` where it is censored. There ``observed_data`` has no sample, since
nothing that is predicted can be compared with a limit."""


def _seen(data: Dataset) -> np.ndarray:
    """``x`` without censored samples."""
    return data.x if data.censored is None else np.where(data.censored == 0, data.x, np.nan)


def _marks(system: System, data: Dataset, axes: tuple[str, ...]) -> dict[str, xr.Variable]:
    """Stated errors and censoring, (observation, *event) each, where the data have them."""
    unit = {"units": system.unit}
    found = {} if data.error is None else {ERROR: xr.Variable(axes, data.error, unit)}
    if data.censored is not None:
        limit = np.where(data.censored == 0, np.nan, data.x)
        found |= {CENSORED: xr.Variable(axes, data.censored), LIMIT: xr.Variable(axes, limit, unit)}
    return found


def observations_of(inference_data: az.InferenceData, system: System) -> Dataset:
    """What was observed, and what was known of it, back from an InferenceData.

    Args:
        inference_data: with ``observed_data`` and ``constant_data``, of one data set.
        system: whose axes, coordinates and inputs they are.

    Returns:
        ``x`` (observation, *event), its coordinates and inputs; no true latents.

    """
    observed = inference_data["observed_data"]
    constant = (
        inference_data["constant_data"] if "constant_data" in inference_data else xr.Dataset()
    )
    x = np.array(observed[OBSERVATION].values)
    coordinates = {
        array: np.array(observed[axis].values)
        for array, axis in system.coordinates.items()
        if axis in observed.coords
    }
    steps = x.shape[1] if x.ndim > 1 else 0
    if "t" in constant and "time" in constant["t"].dims:
        coordinates["t"] = np.array(constant["t"].values)[:, :steps]
    names = [k for name in system.inputs for k in (name, BASE + name) if k in constant]
    inputs = {
        k: np.array(constant[k].isel(time=slice(steps), missing_dims="ignore")) for k in names
    }
    own = frozenset(k for k in names if "observation" in constant[k].dims)
    error, censored, limit = (
        np.array(constant[k].values) if k in constant else None for k in (ERROR, CENSORED, LIMIT)
    )
    if censored is not None and limit is not None:
        x = np.where(censored == 0, x, limit).astype(x.dtype)
    return Dataset(x, coordinates, inputs=inputs, own=own, error=error, censored=censored)


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
