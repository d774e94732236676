"""The Dataset: observations, their coordinates and inputs and, where known, the true latents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from groundvae.data.atomic import replacing
from groundvae.data.errors import InputError
from groundvae.data.input import BASE, Input, check_inputs, is_base, is_own
from groundvae.data.times import check_times, within

DESCRIPTION = "description"
"""The array of a file that says, as JSON, what the others are."""


@dataclass(frozen=True)
class Dataset:
    """Observations and what is known of them.

    Args:
        x: (observation, *event); NaN marks a missing sample. An observation that holds infinite
            values counts as one without samples.
        coordinates: what labels the axes, by name. ``t``, s, strictly increasing: (time,), shared
            by all observations, or (observation, time), of each one's own, uneven and of different
            lengths, padded at the end with NaN in ``t`` and in ``x``.
        truth: the true latents, (observation,), where they are known.
        inputs: what is known beside ``x``: shared by all, (*over), or of each one's own,
            (observation, *over): a mass () or (observation,), a driving signal (time,) or
            (observation, time). A signal ``drive`` is sampled at the times ``t_drive`` (s) where
            there are such among the inputs, else at ``t``.
        own: names of the inputs that are one for each observation.
        error: standard deviation of each sample of ``x`` where it was stated, of its shape.
        censored: of the shape of ``x``: 1 where the value lies above ``x``, -1 where below.
        labels: names of an axis' entries, such as those of ``observation`` and ``channel``; under
            ``group`` what each observation belongs to that a split keeps together.
        units: of arrays, by name, where the file told them.

    Raises:
        InputError: shapes that do not agree, values that are not finite, times that do not
            increase, an input that ends before the data do.

    """

    x: np.ndarray
    coordinates: Mapping[str, np.ndarray] = field(default_factory=dict)
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    error: np.ndarray | None = None
    censored: np.ndarray | None = None
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.x.ndim < 2 or self.x.size == 0:
            raise InputError(f"x has shape {self.x.shape}, expected (observation, ...), not empty")
        if np.isinf(self.x).reshape(len(self.x), -1).any(axis=1).all():  # of some: unusable.py
            raise InputError("x holds infinite values in every observation, expected finite ones")
        times = self.coordinates.get("t")
        if times is not None:
            check_times(times, self.x)
        taken = {"x", "error", "censored", DESCRIPTION, *self.coordinates, *self.truth}
        clash = sorted(taken & set(self.inputs))
        if clash:
            raise InputError(f"an input is called {clash[0]!r}, expected another name")
        check_inputs(self.inputs, self.own, times, len(self))
        self._check_samples()

    def _check_samples(self) -> None:
        """Refuse errors and marks of censoring that are none of ``x``'s."""
        for name, values in (("error", self.error), ("censored", self.censored)):
            if values is not None and values.shape != self.x.shape:
                raise InputError(f"{name} has shape {values.shape}, expected {self.x.shape}")
        there = ~np.isnan(self.x)
        if self.error is not None and not (np.nan_to_num(self.error[there], posinf=0) > 0).all():
            raise InputError("error is not positive everywhere, expected standard deviations")
        if self.censored is not None and not np.isin(self.censored[there], (-1, 0, 1)).all():
            raise InputError("censored holds other marks than -1 (below x), 0 and 1 (above x)")
        for kind in ("observation", "group"):
            names = self.labels.get(kind)
            if names is not None and len(names) != len(self):
                raise InputError(
                    f"{len(names)} names for {len(self)} observations, expected as many"
                )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def names(self) -> tuple[str, ...]:
        """What the observations are called, (observation,); empty where they have no names."""
        return self.labels.get("observation", ())

    @property
    def own_times(self) -> bool:
        """Whether each observation has times of its own."""
        return "t" in self.coordinates and self.coordinates["t"].ndim == 2

    @property
    def signals(self) -> frozenset[str]:
        """Names of the inputs that are known at the times ``t``."""
        return frozenset(
            name
            for name, value in self.inputs.items()
            if value.ndim - (name in self.own) == 1
            and not is_base(name, self.inputs)
            and BASE + name not in self.inputs
        )

    @property
    def lengths(self) -> np.ndarray:
        """How many times each observation has, without padding, (observation,)."""
        if self.own_times:
            return np.asarray(within(self.coordinates["t"]).sum(axis=1))
        return np.full(len(self), self.x.shape[1])

    def subset(self, index: np.ndarray | slice) -> Dataset:
        """The observations that ``index`` picks: whole numbers (picked,), a mask (observation,).

        Raises:
            InputError: none is picked.

        """
        labels = dict(self.labels)
        for name in {"observation", "group"} & set(labels):
            labels[name] = tuple(np.array(labels[name], dtype=object)[index])
        coordinates = dict(self.coordinates)
        if self.own_times:
            coordinates["t"] = coordinates["t"][index]
        return replace(
            self,
            x=self.x[index],
            coordinates=coordinates,
            truth={name: value[index] for name, value in self.truth.items()},
            inputs={k: v[index] if k in self.own else v for k, v in self.inputs.items()},
            error=None if self.error is None else self.error[index],
            censored=None if self.censored is None else self.censored[index],
            labels=labels,
        )

    def split(
        self, fraction: float, seed: int, *, groups: np.ndarray | None = None
    ) -> tuple[Dataset, Dataset]:
        """Two disjoint parts by a seeded shuffle, the first with ``fraction`` of the rows.

        Args:
            fraction: of the observations, or of the groups, in the first part.
            seed: of the shuffle.
            groups: (observation,); observations of the same value stay together. Where None, those
                of ``labels["group"]``, if they are there.

        Raises:
            InputError: fewer than two observations, or groups.

        Examples:
            >>> first, second = Dataset(np.zeros((10, 3))).split(0.8, seed=0)
            >>> len(first), len(second)
            (8, 2)

        """
        if groups is None and "group" in self.labels:
            groups = np.array(self.labels["group"])
        if groups is not None and np.shape(groups) != (len(self),):
            raise InputError(f"groups has shape {np.shape(groups)}, expected ({len(self)},)")
        member = np.arange(len(self))
        if groups is not None:
            member = np.unique(groups, return_inverse=True)[1]
        count = int(member.max()) + 1
        if count < 2:
            what = "observations" if groups is None else "groups"
            raise InputError(f"a split needs at least two {what}, the data have one")
        order = np.random.default_rng(seed).permutation(count)
        cut = min(max(1, round(fraction * count)), count - 1)
        first = np.isin(member, order[:cut])
        return self.subset(np.flatnonzero(first)), self.subset(np.flatnonzero(~first))

    def declare(self, inputs: Mapping[str, Input]) -> Dataset:
        """The same data, with the inputs that a system declares found and checked.

        Which of them are one for each observation is told by their number of axes. What a file
        without a description held of one number an observation, under such a name, is taken for
        the input that it is.

        Args:
            inputs: by name; a signal's times ``t_drive`` need not be declared.

        Raises:
            InputError: one is missing, has another shape, or ends before the data do.

        """
        arrays = {**self.truth, **self.inputs}
        missing = sorted(set(inputs) - set(arrays))
        if missing:
            known = ", ".join(sorted(self.inputs)) or "none"
            raise InputError(f"the data have no input {missing[0]!r}, found: {known}")
        own = set(self.own)
        for name, declared in inputs.items():
            based = declared.over and BASE + name in arrays
            for each in (name, BASE + name) if based else (name,):
                own.discard(each)
                if is_own(each, declared, arrays[each], len(self)):
                    own.add(each)
        found = {name: arrays[name] for name in arrays if name in inputs or name in self.inputs}
        truth = {name: value for name, value in self.truth.items() if name not in inputs}
        declared_data = replace(self, truth=truth, inputs=found, own=frozenset(own))
        steps = self.x.shape[1]
        for name, declared in inputs.items():
            if declared.over and BASE + name not in found and found[name].shape[-1] != steps:
                raise InputError(
                    f"input {name!r} has {found[name].shape[-1]} samples, expected {steps}, one "
                    f"for each time, or its own times {BASE + name!r}"
                )
        return declared_data

    def digest(self) -> str:
        """SHA-256 of all values and names: of equal data alone it is the same."""
        found = hashlib.sha256()
        for name, value in sorted(self.arrays().items()):
            array = np.ascontiguousarray(value)
            found.update(f"{name} {array.dtype} {array.shape}".encode())
            found.update(array.tobytes())
        return found.hexdigest()

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything by name as a data file holds it, of the shapes (...) that the class tells."""
        marks = {"error": self.error, "censored": self.censored}
        own = {name: value for name, value in marks.items() if value is not None}
        return {"x": self.x, **self.coordinates, **self.truth, **self.inputs, **own}

    def save(self, path: Path | str) -> None:
        """Write an ``.npz`` (no pickles) with ``x``, the coordinates and all else.

        Raises:
            InputError: it cannot be written.

        """
        arrays = self.arrays()
        if self.inputs or self.labels or self.units:
            arrays[DESCRIPTION] = np.array(json.dumps(self._describe()))
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    def _describe(self) -> dict[str, Any]:
        return {
            "coordinates": sorted(self.coordinates),
            "truth": sorted(self.truth),
            "inputs": sorted(self.inputs),
            "own": sorted(self.own),
            "labels": {axis: list(names) for axis, names in self.labels.items()},
            "units": dict(self.units),
        }
