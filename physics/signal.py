"""A known input over time, as a function of time: samples, and what stands between them.

A law asks for its inputs at the times of a solver, thousands of them: one number, one for each
observation, or all stages at once. Beyond its ends a signal keeps its first and its last value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from groundvae.physics.errors import InputError

Interpolation = Literal["linear", "previous"]


@dataclass(frozen=True)
class Signal:
    """Samples of an input, shared or one series for each observation.

    Args:
        times: (time,) or (observation, time), s, increasing; at its end a row may repeat its last
            time (padding), with the last value repeated.
        values: (time,) or (observation, time), in any unit.
        interpolation: ``"linear"``, or ``"previous"`` for a sample that is held until the next:
            at a sample's own time it is that sample. A solver with a stage at the end of a step
            (``RK4``) there sees the next sample already; ``Euler`` and ``Midpoint`` do not.

    Raises:
        InputError: shapes that do not agree.

    Examples:
        >>> drive = Signal(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 10.0, 10.0]))
        >>> drive(torch.tensor(0.25))
        tensor(2.5000)
        >>> doses = torch.tensor([[1.0, 0.0, 3.0], [2.0, 0.0, 4.0]])
        >>> Signal(drive.times, doses, "previous")(torch.tensor(2.5))
        tensor([3., 4.])

    """

    times: Tensor
    values: Tensor
    interpolation: Interpolation = "linear"

    def __post_init__(self) -> None:
        ranks = {self.times.dim(), self.values.dim()}
        if not ranks <= {1, 2} or self.times.shape[-1] != self.values.shape[-1]:
            raise InputError(
                f"a signal has times of shape {tuple(self.times.shape)} and values of shape "
                f"{tuple(self.values.shape)}, expected (time,) or (observation, time) of both"
            )
        if len(ranks) == 1 and 2 in ranks and len(self.times) != len(self.values):
            raise InputError(
                f"a signal has the times of {len(self.times)} and the values of "
                f"{len(self.values)} observations, expected as many"
            )
        object.__setattr__(self, "times", self.times.contiguous())  # as a search wants them

    @property
    def own(self) -> bool:
        """Whether each observation has a signal of its own."""
        return self.times.dim() == 2 or self.values.dim() == 2

    def __call__(self, time: Tensor) -> Tensor:
        """The signal at ``time``, s; differentiable in ``time`` and in the values.

        Args:
            time: any shape (...) of a shared signal; else what broadcasts against (...,
                observation): a scalar, (observation,), stages as (stage, 1) or (stage,
                observation).

        Returns:
            (...), or (..., observation).

        """
        if time.dim() == 0 and self.times.dim() == 1:
            return self._at_one_time(time)
        if self.own:
            n = len(self.times) if self.times.dim() == 2 else len(self.values)
            time = time.expand(torch.broadcast_shapes(time.shape, (n,)))
        after = self._after(time)
        if self.interpolation == "previous":
            return _look_up(self.values, (after - 1).clamp(min=0))
        after = after.clamp(1, max(self.times.shape[-1] - 1, 1))
        if self.times.shape[-1] == 1:
            return _look_up(self.values, torch.zeros_like(after))
        start, end = _look_up(self.times, after - 1), _look_up(self.times, after)
        share = _share(time, start, end)
        return torch.lerp(_look_up(self.values, after - 1), _look_up(self.values, after), share)

    def _at_one_time(self, time: Tensor) -> Tensor:
        """() or (observation,): what most solvers ask, without an index for each observation."""
        last = self.times.shape[-1] - 1
        after = int(torch.searchsorted(self.times, time.detach(), right=True))
        if self.interpolation == "previous" or last == 0:
            return self.values[..., max(after - 1, 0)]
        after = min(max(after, 1), last)
        share = _share(time, self.times[after - 1], self.times[after])
        return torch.lerp(self.values[..., after - 1], self.values[..., after], share)

    def _after(self, time: Tensor) -> Tensor:
        """How many samples are not later than ``time``, of its shape."""
        time = time.detach()
        if self.times.dim() == 1:
            return torch.searchsorted(self.times, time.contiguous(), right=True)
        rows = time.movedim(-1, 0)  # (observation, ...)
        flat = rows.reshape(len(rows), -1).contiguous()
        found = torch.searchsorted(self.times, flat, right=True)
        return found.reshape(rows.shape).movedim(0, -1)


def _look_up(table: Tensor, index: Tensor) -> Tensor:
    """Entries of (time,) or (observation, time) at ``index`` (...) or (..., observation)."""
    if table.dim() == 1:
        return table[index]
    return table[torch.arange(len(table), device=table.device), index]


def _share(time: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Where in an interval, 0 .. 1; of an interval without length, its start."""
    length = end - start
    moving = length > 0
    share = (time - start) / torch.where(moving, length, torch.ones_like(length))
    return share.clamp(0, 1) * moving
