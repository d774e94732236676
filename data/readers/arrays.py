"""Arrays by name, as an ``.npz`` holds them, and which of them is what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from groundvae.data.dataset import DESCRIPTION, Dataset
from groundvae.data.errors import InputError
from groundvae.data.input import BASE, TIME, Input, is_own
from groundvae.data.npz import numbers, read_npz
from groundvae.data.readers.wanted import CENSORED, ERROR, Wanted, stepped


def read_arrays(arrays: Mapping[str, np.ndarray], wanted: Wanted, source: str) -> Dataset:
    """Arrays by name: ``x`` (observation, *event), times, inputs and true latents.

    Args:
        arrays: any shapes; what is not asked for, and has no shape that says what it is, is left
            out.
        wanted: which is what; where arrays come with a description, that tells the rest.
        source: for errors.

    Raises:
        InputError: no ``x``, text, or shapes that do not agree.

    """
    told = _description(arrays, source)
    name = wanted.x[0] if wanted.x else "x"
    if len(wanted.x) > 1:
        raise InputError(f"{source}: x names {len(wanted.x)} arrays, expected one")
    x = _array(arrays, name, np.float32, source)
    if x.ndim < 2:
        raise InputError(f"{source}: {name} has shape {x.shape}, expected (observation, ...)")
    coordinates = _coordinates(arrays, x, wanted, told, source)
    asked = {*coordinates, name, ERROR, CENSORED, DESCRIPTION, str(wanted.t)}
    truth_names = wanted.truth or tuple(told.get("truth", ()))
    rest = [k for k in arrays if k not in asked and k not in truth_names]
    found = {k: _array(arrays, k, float, source) for k in truth_names if k in arrays}
    for latent, value in found.items():
        if value.shape != x.shape[:1]:
            raise InputError(f"{source}: {latent} has shape {value.shape}, expected {x.shape[:1]}")
    inputs, own = _inputs(arrays, x, rest, wanted, told, source)
    if not told and not wanted.truth and wanted.inputs is None:
        found |= {k: inputs.pop(k) for k in list(inputs) if inputs[k].shape == x.shape[:1]}
    labels = {axis: tuple(map(str, names)) for axis, names in told.get("labels", {}).items()}
    error, censored = (
        _array(arrays, k, float, source) if k in arrays else None for k in (ERROR, CENSORED)
    )
    own &= set(inputs)
    units = {k: str(v) for k, v in told.get("units", {}).items()}
    try:
        return Dataset(
            x, coordinates, found, inputs, frozenset(own), error, censored, labels, units
        )
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def read_file(path: Path, wanted: Wanted) -> Dataset:
    """An ``.npz``, with or without the description that ``Dataset.save`` writes.

    Raises:
        InputError: no such file, damaged, pickled, or arrays that are not what they should be.

    """
    return read_arrays(read_npz(path), wanted, str(path))


def described(arrays: Mapping[str, np.ndarray], source: str) -> set[str]:
    """Names of the arrays (observation, ...) that a file's own description says are such."""
    told = _description(arrays, source)
    return {*told.get("own", ()), *told.get("truth", ())}


def _description(arrays: Mapping[str, np.ndarray], source: str) -> dict[str, Any]:
    """What a file says of its arrays; nothing where it says nothing."""
    if DESCRIPTION not in arrays:
        return {}
    text = arrays[DESCRIPTION]
    try:
        told = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: its description is damaged ({error})") from error
    kinds: dict[str, type] = dict.fromkeys(("coordinates", "truth", "inputs", "own"), list)
    kinds |= {"labels": dict, "units": dict}
    if not isinstance(told, dict) or any(
        not isinstance(told.get(k, kind()), kind) for k, kind in kinds.items()
    ):
        raise InputError(f"{source}: its description is damaged, expected one by groundvae")
    if not all(isinstance(names, list) for names in told.get("labels", {}).values()):
        raise InputError(f"{source}: its description is damaged, expected lists of labels")
    return {k: [str(n) for n in v] if isinstance(v, list) else v for k, v in told.items()}


def _array(arrays: Mapping[str, np.ndarray], name: str, dtype: type, source: str) -> np.ndarray:
    if name not in arrays:
        known = ", ".join(arrays) or "none"
        raise InputError(
            f"{source}: has no array {name!r}, expected one of shape (observation, ...) among: "
            f"{known}"
        )
    try:
        return numbers(np.asarray(arrays[name]), dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: {name} holds no numbers ({error})") from error


def _coordinates(
    arrays: Mapping[str, np.ndarray],
    x: np.ndarray,
    wanted: Wanted,
    told: Mapping[str, Any],
    source: str,
) -> dict[str, np.ndarray]:
    names = dict.fromkeys([*wanted.coordinates, *told.get("coordinates", ())])
    found = {k: _array(arrays, k, float, source) for k in names if k in arrays}
    if isinstance(wanted.t, str):
        found["t"] = _array(arrays, wanted.t, float, source)
    elif wanted.t is not None:
        found["t"] = stepped(wanted.t, x.shape[1], source)
    return found


def _inputs(
    arrays: Mapping[str, np.ndarray],
    x: np.ndarray,
    rest: list[str],
    wanted: Wanted,
    told: Mapping[str, Any],
    source: str,
) -> tuple[dict[str, np.ndarray], set[str]]:
    """The inputs, and which of them are one for each observation."""
    names = rest if wanted.inputs is None else list(wanted.inputs)
    names = [k for k in told["inputs"] if k in names] if "inputs" in told else names
    asked = wanted.inputs is not None
    if asked:
        missing = [k for k in wanted.inputs or {} if k not in arrays]
        if missing:
            known = ", ".join(rest) or "none"
            raise InputError(f"{source}: has no input {missing[0]!r}, found: {known}")
        names = [*(wanted.inputs or {})]
        names += [BASE + k for k in names if BASE + k in arrays]
    found: dict[str, np.ndarray] = {}
    own: set[str] = set()
    for name in names:
        values = np.asarray(arrays[name])
        if not asked and values.dtype.kind not in "biuf":
            continue
        values = _array(arrays, name, float, source)
        belongs = _belongs(name, values, x, wanted, told, source)
        padded = values.shape[:1] == x.shape[:1]  # or a true latent that is not known everywhere
        usable = belongs is not None and (padded or bool(np.isfinite(values).all()))
        if not asked and not usable:
            continue
        found[name] = values
        if belongs:
            own.add(name)
    return found, own


def _belongs(
    name: str,
    values: np.ndarray,
    x: np.ndarray,
    wanted: Wanted,
    told: Mapping[str, Any],
    source: str,
) -> bool | None:
    """Whether an input is one for each observation; None: it is no input by its shape."""
    if name in told.get("inputs", ()):
        return name in told.get("own", ())
    n, steps = x.shape[:2]
    declared = wanted.declared(name)
    if declared is None and name.startswith(BASE):
        declared = Input(over=(TIME,))
    if declared is not None:
        try:
            return is_own(name, declared, values, n)
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
    if values.ndim == 1 and n == steps == len(values) and wanted.inputs is not None:
        raise InputError(
            f"{source}: input {name!r} of shape {values.shape} may be one number an observation or "
            f"a signal over time, expected inputs={{{name!r}: Input(over=...)}}"
        )
    return {(): False, (steps,): False, (n, steps): True, (n,): True}.get(values.shape)
