"""Human gait: hip, knee and ankle flexion over one stride, measured, or a simulated stand-in.

Reads ``gait.npz`` (angles in splits) and folders of ``SubjectN.mat`` as published.
Source: Lencioni et al. (2019), Scientific Data 6:309.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.measurement import measure_gait
from groundvae.data.npz import read_npz
from groundvae.data.root import STAND_IN, Splits, find_folder
from groundvae.data.source import Source

JOINTS = ("hip", "knee", "ankle")
ROWS = (3, 6, 9)  # of a trial's Ang: flexion of these joints, counted from 0
POINTS = 101  # 0 .. 100 % of the stride
TIMES = 0.02 * np.arange(POINTS)  # s; every stride is laid out on the same two seconds
COVARIATES = ("foot", "speed", "stride_length", "step_width", "cadence")
NAMES = ("HipFlx", "KneeFlx", "AnkleFlx")  # of these rows, as published
SMALLEST = 7.0  # degrees that some angle of a stride reaches; radians reach less
PUBLISHED = {"stride_length": "strideLength", "step_width": "stepWidth"}
FEET = {"RX": 0.0, "LX": 1.0}
TASK = "Walking"
FEWEST = 4  # strides of a folder, to fit, validate and test on
SPLITS = ("train", "valid", "test")
FILES = {
    "gait.npz": "strides in three splits, angles_train and so on",
    "Subject*.mat": "all trials of one subject, as published",
}
PUBLIC = (
    "Lencioni et al. (2019), Scientific Data 6:309, figshare collection 4494755 (CC BY 4.0): "
    "Subject1.mat to Subject50.mat"
)


def read_gait_npz(path: Path) -> dict[str, Dataset]:
    """The splits of a ``gait.npz`` by name.

    Raises:
        InputError: not such a file.

    """
    names = [f"{k}_{split}" for k in ("angles", *COVARIATES) for split in SPLITS]
    arrays = read_npz(path, tuple(names))
    splits = {}
    for split in SPLITS:
        name = f"angles_{split}"
        if name not in arrays:
            raise InputError(f"{path}: has no array {name!r}, expected (stride, {POINTS}, 3)")
        splits[split] = _dataset(
            arrays[name],
            {k: arrays[f"{k}_{split}"] for k in COVARIATES if f"{k}_{split}" in arrays},
            path,
        )
    return splits


def read_subject(path: Path) -> Dataset:
    """The walking strides of one ``SubjectN.mat``, angles in rad, with their covariates.

    Raises:
        InputError: not such a file, or one without walking.

    """
    content = _content(path)
    trials = [trial for trial in _trials(content, path) if str(trial.Task).strip() == TASK]
    if not trials:
        raise InputError(f"{path}: has no trial of the task {TASK!r}")
    try:
        angles = np.stack([np.asarray(trial.Ang, dtype=float) for trial in trials])
        covariates = {k: np.array([_covariate(t, k) for t in trials]) for k in COVARIATES}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a walking trial cannot be read ({error})") from error
    if angles.shape[1:] != (12, POINTS):
        raise InputError(f"{path}: Ang has shape {angles.shape[1:]}, expected (12, {POINTS})")
    names = tuple(str(name).strip() for name in np.atleast_1d(getattr(content, "AngVarName", ())))
    if names and tuple(names[row] for row in ROWS if row < len(names)) != NAMES:
        rows = ", ".join(str(row + 1) for row in ROWS)
        raise InputError(f"{path}: rows {rows} of Ang are not named {', '.join(NAMES)}")
    if np.isfinite(angles).all() and np.abs(angles[:, ROWS]).max() < SMALLEST:
        raise InputError(
            f"{path}: angles reach {np.abs(angles[:, ROWS]).max():.3g}, expected degrees"
        )
    return _dataset(np.deg2rad(angles[:, ROWS].transpose(0, 2, 1)), covariates, path)


def read_subjects(folder: Path) -> Dataset:
    """The walking strides of all ``SubjectN.mat`` in a folder, in the order of N."""
    paths = sorted(folder.glob("Subject*.mat"), key=lambda path: (len(path.name), path.name))
    if not paths:
        raise InputError(f"{folder}: holds no SubjectN.mat")
    parts = [read_subject(path) for path in paths]
    truth = {k: np.concatenate([part.truth[k] for part in parts]) for k in COVARIATES}
    return Dataset(np.concatenate([part.x for part in parts]), {"t": TIMES}, truth)


def splits(root: Path | None = None) -> Splits:
    """Measured strides where they are found, else the simulated stand-in."""
    folder = find_folder("gait", root)
    if folder is not None and (folder / "gait.npz").is_file():
        parts = read_gait_npz(folder / "gait.npz")
        return Splits(parts["train"], parts["valid"], parts["test"], "measured, gait.npz")
    if folder is not None and any(folder.glob("Subject*.mat")):
        strides = read_subjects(folder)
        if len(strides) < FEWEST:
            raise InputError(f"{folder}: holds {len(strides)} strides, expected {FEWEST} or more")
        train, rest = strides.split(0.6, seed=0)
        valid, test = rest.split(0.4, seed=0)
        return Splits(train, valid, test, f"measured, {len(strides)} strides of SubjectN.mat")
    if root is not None:
        raise InputError(f"{root}: holds neither gait.npz nor SubjectN.mat")
    source = f"{STAND_IN}, no measured gait was found"
    return Splits(simulate(400, 1), simulate(100, 2), simulate(172, 3), source, stand_in=True)


def simulate(n: int, seed: int) -> Dataset:
    """A stand-in that looks like gait and measures nobody: harmonics around a typical stride.

    >>> simulate(2, seed=1).x.shape
    (2, 101, 3)
    """
    rng = np.random.default_rng(seed)
    phase = np.pi * TIMES[:, None] * np.arange(6)  # the stride as the first period of 2 s
    waves = np.concatenate([np.cos(phase), np.sin(phase[:, 1:])], axis=1)
    typical = np.random.default_rng(0).normal(size=(waves.shape[1], len(JOINTS)))
    fade = 0.3 / (1 + np.concatenate([np.arange(6), np.arange(1, 6)]))[:, None]
    weights = fade * (typical + 0.3 * rng.normal(size=(n, *typical.shape)))
    angles = waves @ weights + 0.005 * rng.normal(size=(n, POINTS, len(JOINTS)))
    return Dataset(angles.astype(np.float32), {"t": TIMES})


def _dataset(angles: np.ndarray, covariates: dict[str, np.ndarray], path: Path) -> Dataset:
    expected = (POINTS, len(JOINTS))
    if angles.ndim != 3 or angles.shape[1:] != expected or not len(angles):
        raise InputError(f"{path}: angles have shape {angles.shape}, expected (stride, 101, 3)")
    if angles.dtype.kind != "f" or not np.isfinite(angles).all():
        raise InputError(f"{path}: angles are not all finite numbers")
    if np.abs(angles).max() > np.pi:
        raise InputError(f"{path}: angles reach {np.abs(angles).max():.3g}, expected radians")
    for name, values in covariates.items():
        if values.shape != (len(angles),):
            raise InputError(f"{path}: {name} has shape {values.shape}, expected ({len(angles)},)")
        if values.dtype.kind not in "biuf":
            raise InputError(f"{path}: {name} is of type {values.dtype}, expected numbers")
    truth = {name: np.asarray(values, dtype=float) for name, values in covariates.items()}
    return Dataset(angles.astype(np.float32), {"t": TIMES}, truth)


def _content(path: Path) -> Any:
    """The struct ``s`` of a file, None where it has none."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a SubjectN.mat")
    try:
        content = loadmat(path, squeeze_me=True, struct_as_record=False)
    except Exception as error:  # a damaged file can make the reader fail in any way
        raise InputError(f"{path}: cannot be read as a MATLAB v5 file") from error
    return content.get("s")


def _trials(content: Any, path: Path) -> list[Any]:
    """The structs ``s.Data``."""
    trials = np.atleast_1d(getattr(content, "Data", np.empty(0)))
    if not len(trials) or not all(hasattr(trial, "Task") for trial in trials):
        raise InputError(f"{path}: has no struct 's' with trials in 's.Data'")
    return list(trials)


def _covariate(trial: Any, name: str) -> float:
    """One covariate; NaN where it was not measured."""
    if name == "foot":
        return FEET[str(trial.Foot).strip()]
    value = getattr(trial, PUBLISHED.get(name, name), np.nan)
    return float(value) if np.size(value) else np.nan


SOURCE = Source(simulate, COVARIATES, splits, FILES, PUBLIC, measure=measure_gait)
