"""The Batch: what one Pyro program and one guide see of a Dataset, as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.times import held


@dataclass(frozen=True)
class Batch:
    """Observations ``x`` (observation, *event), missing samples set to 0 and masked out.

    Args:
        x: (observation, *event).
        inputs: by name, coordinates among them: shared by all observations (*over), or for those
            of ``own`` (observation, *over). ``t``, s, is (time,) or (observation, time); where an
            observation's own times end, ``t`` repeats its last one, so that a solver stands still.
        observed: (observation, *event), False where a sample is missing; None: all are there.
        own: names of the inputs that are one for each observation.
        error: (observation, *event), stated standard deviation of each sample; None: none stated.
        censored: (observation, *event): 1 where the value lies above ``x``, -1 where below.
        signals: names of the inputs that are known at the times ``t``.

    """

    x: Tensor
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    observed: Tensor | None = None
    own: frozenset[str] = frozenset()
    error: Tensor | None = None
    censored: Tensor | None = None
    signals: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if "t" not in self.own and self.own_times:  # rank tells it: nobody can forget to say it
            object.__setattr__(self, "own", self.own | {"t"})

    @staticmethod
    def of(data: Dataset, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Batch:
        """The whole Dataset as one Batch."""
        x = _tensor(data.x, dtype, device)
        padded = ({"t"} if data.own_times else set()) | set(data.inputs)
        inputs = {
            name: _tensor(held(value) if name in padded and value.ndim else value, dtype, device)
            for name, value in {**data.coordinates, **data.inputs}.items()
        }
        error, censored = (
            None if v is None else _tensor(np.nan_to_num(v), dtype, device)
            for v in (data.error, data.censored)
        )
        batch = Batch(x, inputs, None, data.own, error, censored, data.signals)
        infinite = torch.isinf(x).flatten(1).any(1)  # such an observation has no samples
        missing = torch.isnan(x) | infinite.view(-1, *[1] * (x.dim() - 1))
        if not missing.any():
            return batch
        return replace(batch, x=x.masked_fill(missing, 0.0), observed=~missing)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor | slice) -> Batch:
        observed, error, censored = (
            None if v is None else v[index] for v in (self.observed, self.error, self.censored)
        )
        x, inputs = self.x[index], self.inputs
        if self.own:
            inputs = {k: v[index] if k in self.own else v for k, v in inputs.items()}
        return Batch(x, inputs, observed, self.own, error, censored, self.signals)

    @property
    def own_times(self) -> bool:
        """Whether each observation has times of its own."""
        return "t" in self.inputs and self.inputs["t"].dim() == 2

    @property
    def timed(self) -> Tensor | None:
        """Which places along time are no padding, (observation, time); None: times are shared."""
        if not self.own_times:
            return None
        first = torch.ones_like(self.inputs["t"][:, :1], dtype=torch.bool)
        return torch.cat([first, torch.diff(self.inputs["t"], dim=-1) > 0], -1)

    @property
    def samples(self) -> Tensor:
        """How many samples each observation has, (observation,)."""
        if self.observed is None:
            return self.x.new_full((len(self.x),), float(self.x[0].numel()))
        return self.observed.flatten(1).sum(1).to(self.x)

    def with_x(self, x: Tensor) -> Batch:
        """The same inputs with other observations (simulations, unmixed series).

        They are complete, but for what lies beyond the times of an observation's own, and none is
        censored; errors stay as they were stated.

        Args:
            x: (observation, *event), as many as before where any input is of an observation's own.

        Raises:
            InputError: another number of observations than inputs of their own.

        """
        if self.own and len(x) != len(self):
            raise InputError(
                f"{len(x)} observations for the own inputs of {len(self)}, expected as many"
            )
        error = self.error if self.error is not None and self.error.shape == x.shape else None
        timed = self.timed
        if timed is None or bool(timed.all()):
            return Batch(x, self.inputs, None, self.own, error, signals=self.signals)
        observed = timed.reshape(*timed.shape, *[1] * (x.dim() - 2)).expand_as(x)
        x = x.masked_fill(~observed, 0.0)
        return Batch(x, self.inputs, observed, self.own, error, signals=self.signals)

    def tensors(self) -> dict[str, Tensor]:
        """All that it holds, by name; with ``with_tensors`` the way there and back."""
        marks = {"observed": self.observed, "error": self.error, "censored": self.censored}
        held = {name: value for name, value in marks.items() if value is not None}
        return {"x": self.x, **held, **{f"input.{k}": v for k, v in self.inputs.items()}}

    def with_tensors(self, tensors: Mapping[str, Tensor]) -> Batch:
        """Other observations of the same kind, which ``tensors`` gave."""
        there = {name: value.to(self.x.device) for name, value in tensors.items()}
        return replace(
            self,
            x=there["x"],
            inputs={name: there[f"input.{name}"] for name in self.inputs},
            observed=there.get("observed"),
            error=there.get("error"),
            censored=there.get("censored"),
        )

    def until(self, end: float) -> Batch:
        """All times carried on to ``end`` (s); the new samples are missing.

        They go on at the median step of the times, those of an observation's own at its own.
        Signals known at ``t`` keep their last value beyond it.

        Raises:
            InputError: there are no times, or ``end`` is before some of them.

        """
        if "t" not in self.inputs:
            raise InputError(f"until is {end:g} s, but the data have no times to go beyond")
        times = self.inputs["t"]
        latest = float(times.max())
        if end < latest:
            raise InputError(f"until is {end:g} s, before the data's last time {latest:g} s")
        rows = [_carried_on(row, end) for row in times.reshape(-1, times.shape[-1])]
        steps = max(max(map(len, rows)), times.shape[-1])
        inputs = {**self.inputs, "t": torch.stack([_padded(row, steps) for row in rows])}
        if not self.own_times:
            inputs["t"] = inputs["t"][0]
        for name in self.signals:
            inputs[name] = _padded(inputs[name], steps)
        more = self.x.new_zeros(len(self), steps - times.shape[-1], *self.x.shape[2:])
        blank = torch.zeros_like(torch.cat([self.x, more], 1))
        observed = torch.zeros_like(blank, dtype=torch.bool)
        return Batch(blank, inputs, observed, self.own, signals=self.signals)


def _tensor(values: np.ndarray, dtype: torch.dtype, device: str) -> Tensor:
    """A copy; torch itself takes neither other byte orders nor strides that run backwards."""
    array = np.asarray(values)
    plain = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    return torch.as_tensor(plain, dtype=dtype, device=device)


def _carried_on(times: Tensor, end: float) -> Tensor:
    """Times (time,), whose padding repeats the last, carried on at their median step."""
    gaps = torch.diff(times)
    gaps = gaps[gaps > 0]
    times = times[: len(gaps) + 1]
    step = gaps.median() if len(gaps) else times.new_tensor(0.05)
    more = int(torch.floor((end - times[-1]) / step + 1e-3))
    later = times[-1] + step * torch.arange(1, more + 1, device=times.device)
    return torch.cat([times, later.to(times)])


def _padded(values: Tensor, steps: int) -> Tensor:
    """Values (..., time) with the last one repeated up to ``steps``."""
    last = values[..., -1:]
    return torch.cat([values, last.expand(*last.shape[:-1], steps - values.shape[-1])], -1)
