"""The steps between times, shared by all observations or of each one's own.

Times of their own are all carried along at once, each by its own clock.

Observation i of a batch takes the steps that it would take alone, and stands still (steps of
length zero) once it has arrived; all take their k-th step together, each at its own time. So no
observation's answer depends on its batch-mates, and a batch costs as many steps as its longest.

Such times are ``(observation, time)``, s, and never fall; where they repeat, nothing moves.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from groundvae.physics.errors import InputError

Field = Callable[[Tensor, Tensor], Tensor]

SLACK = 1e-3  # keeps a gap of 0.05 stored in float32 from being cut in two by a step of 0.05


def step_grid(times: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Refine times, s, so that no step is longer than ``step`` (s).

    Args:
        times: (time,), or (observation, time) of each one's own.
        step: the longest, s.

    Returns:
        The grid (step + 1,) and where in it the requested times stand, (time,); or grids (step + 1,
        observation), which end by repeating their last time, and places (time, observation).

    Examples:
        >>> step_grid(torch.tensor([0.0, 0.1, 0.15]), 0.05)
        (tensor([0.0000, 0.0500, 0.1000, 0.1500]), tensor([0, 2, 3]))
        >>> grid, requested = step_grid(torch.tensor([[0.0, 0.1, 0.3], [0.0, 0.1, 0.1]]), 0.1)
        >>> grid.T
        tensor([[0.0000, 0.1000, 0.2000, 0.3000],
                [0.0000, 0.1000, 0.1000, 0.1000]])
        >>> requested.T.tolist()
        [[0, 1, 3], [0, 1, 1]]

    """
    if times.dim() == 1:
        grid, requested = step_grid(times.unsqueeze(0), step)
        return grid.squeeze(1), requested.squeeze(1)
    times = times.contiguous()
    gaps = torch.diff(times)
    cut = torch.ceil(gaps.detach().double() / step - SLACK).clamp(min=1.0)
    counts = torch.where(gaps == 0, torch.zeros_like(cut), cut).long()
    ends = counts.cumsum(-1)
    requested = torch.nn.functional.pad(ends, (1, 0))
    most = int(requested[:, -1].max())
    if most == 0:
        return times[:, :1].T, torch.zeros_like(requested).T
    place = torch.arange(most, device=times.device).expand(len(times), most).contiguous()
    interval = torch.searchsorted(ends, place, right=True).clamp(max=ends.shape[-1] - 1)
    count = counts.gather(-1, interval)
    first = ends.gather(-1, interval) - count
    within = (place - first).to(times) / count.clamp(min=1).to(times)
    grid = times.gather(-1, interval) + gaps.gather(-1, interval) * within
    grid = torch.where(place < requested[:, -1:], grid, times[:, -1:])
    return torch.cat([grid, times[:, -1:]], -1).T, requested.T


def pick(states: Tensor, requested: Tensor) -> Tensor:
    """States at the requested steps.

    Args:
        states: (step, ..., observation, dimension).
        requested: (time,), or (time, observation) of each observation's own.

    Returns:
        (time, ..., observation, dimension).

    """
    if requested.dim() == 1:
        return states[requested]
    if bool((requested == requested[:, :1]).all()):
        return states[requested[:, 0]]
    rows = torch.arange(requested.shape[1], device=requested.device)
    return states.movedim(-2, 1)[requested, rows].movedim(1, -2)


def stage_time(start: Tensor, end: Tensor, share: float) -> Tensor:
    """The time at a ``share`` of a step, of the shape of ``start`` and ``end``."""
    if share in (0.0, 1.0):
        return end if share else start
    return start + share * (end - start)


def from_start(times: Tensor, start: str) -> Tensor:
    """The times with t = 0, where the state is known, put in front where it is missing.

    Args:
        times: (time,) or (observation, time), s.
        start: what happens at t = 0, for errors, such as ``"the release"``.

    Returns:
        Times of the same shape, or with one more in front of each; states at the requested ones
        are the last ``times.shape[-1]`` of a path.

    Raises:
        InputError: times before t = 0.

    Examples:
        >>> from_start(torch.tensor([[0.0, 1.0], [0.5, 2.0]]), "the release")
        tensor([[0.0000, 0.0000, 1.0000],
                [0.0000, 0.5000, 2.0000]])

    """
    if times.dim() == 1:
        if times[0] < 0:
            raise InputError(f"t starts at {float(times[0]):g} s, before {start} at t = 0 s")
        return times if times[0] == 0 else torch.cat([times.new_zeros(1), times])
    first = times[:, 0]
    if bool((first < 0).any()):
        row = int((first < 0).nonzero()[0])
        raise InputError(
            f"t of observation {row} starts at {float(first[row]):g} s, before {start} at t = 0 s"
        )
    if bool((first == 0).all()):
        return times
    return torch.cat([torch.zeros_like(times[:, :1]), times], -1)
