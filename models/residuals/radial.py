"""Radial functions of states: places and widths are learned, each is silent until it is placed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDE = 1e3  # of a state's usual size: a width by which a function does not depend on it
NARROW = 10.0  # by which it does
WIDTHS = (0.12, 0.25, 0.5, 1.0)  # of candidates, of a state's usual size
REACH = 2.0  # usual sizes, up to which candidates lie


class Radial(nn.Module):
    """``exp(-sum_i ((x_i - place_i) / width_i)^2 / 2)`` of states over their usual sizes.

    Source: Broomhead & Lowe (1988), Multivariable functional interpolation and adaptive networks.
    """

    def __init__(self, states: int, functions: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(functions, states))
        self.log_width = nn.Parameter(torch.zeros(functions, states))
        self.placed: Tensor
        self.register_buffer("placed", torch.zeros(functions))

    def forward(self, states: Tensor) -> Tensor:
        """(..., state) -> (..., function)."""
        return self.placed * radial(states, self.place, self.log_width.exp())

    def blank(self) -> None:
        """No function is placed."""
        for each in (self.place.data, self.log_width.data, self.placed):
            each.zero_()

    def put(self, place: Tensor, width: Tensor) -> int:
        """Place the next function; which it is."""
        number = int(self.placed.sum())
        self.place.data[number], self.log_width.data[number] = place, width.log()
        self.placed[number] = 1.0
        return number

    def words(self, states: Sequence[str], scales: Tensor) -> list[str]:
        """Where each function is, in the states' own units, and how wide; its number if nowhere."""
        found = []
        place, width = self.place * scales, self.log_width.exp() * scales
        for i, placed in enumerate(self.placed.tolist()):
            near = [
                f"{state} near {place[i, j].item():.3g} within {width[i, j].item():.2g}"
                for j, state in enumerate(states)
                if width[i, j] < NARROW * scales[j]
            ]
            found.append(" and ".join(near) if placed and near else f"learned {i + 1}")
        return found

    def take_back(self) -> None:
        """The function that was placed last is silent again."""
        self.placed[int(self.placed.sum()) - 1] = 0.0


def radial(states: Tensor, place: Tensor, width: Tensor) -> Tensor:
    """Functions (..., function) of states (..., state) at places, of widths (function, state)."""
    off = (states.unsqueeze(-2) - place) / width
    return torch.exp(-0.5 * off.square().sum(-1))


def candidates(states: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Places and widths (candidate, state) of functions of one state each, over its usual size."""
    places, widths = [], []
    for state in range(states):
        for width in WIDTHS:
            count = 1 + 2 * round(REACH / width)
            for place in torch.linspace(-REACH, REACH, count):
                places.append([0.0] * states)
                widths.append([WIDE] * states)
                places[-1][state], widths[-1][state] = float(place), width
    return torch.tensor(places).to(like), torch.tensor(widths).to(like)
