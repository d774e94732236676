"""What was observed, and what is known of each observation, in an InferenceData and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from groundvae.data.dataset import Dataset
from groundvae.data.input import BASE
from groundvae.data.readers.wanted import CENSORED, ERROR
from groundvae.models.greybox import OBSERVATION

if TYPE_CHECKING:
    from groundvae.inference import arviz as az
    from groundvae.models.system import System

NAME = "observation_name"
"""In ``constant_data``: what the data call each observation, where they do."""
LIMIT = "limit"
"""In ``constant_data``: ``x`` where it is censored. There ``observed_data`` has no sample, since
nothing that is predicted can be compared with a limit."""


def seen(data: Dataset) -> np.ndarray:
    """``x`` without censored samples."""
    return data.x if data.censored is None else np.where(data.censored == 0, data.x, np.nan)


def marks_of(system: System, data: Dataset, axes: tuple[str, ...]) -> dict[str, xr.Variable]:
    """Stated errors and censoring, (observation, *event) each, where the data have them."""
    unit = {"units": system.unit}
    found = {} if data.error is None else {ERROR: xr.Variable(axes, data.error, unit)}
    if data.censored is not None:
        limit = np.where(data.censored == 0, np.nan, data.x)
        found |= {CENSORED: xr.Variable(axes, data.censored), LIMIT: xr.Variable(axes, limit, unit)}
    return found


def known_inputs(
    system: System, data: Dataset, inputs: Mapping[str, Tensor]
) -> dict[str, xr.Variable]:
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


def named(data: Dataset) -> dict[str, xr.Variable]:
    """What the data call each observation, where they do."""
    return {NAME: xr.Variable(("observation",), np.array(data.names, str))} if data.names else {}


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
    labels = {"observation": tuple(map(str, constant[NAME].values))} if NAME in constant else {}
    return Dataset(
        x, coordinates, inputs=inputs, own=own, error=error, censored=censored, labels=labels
    )
