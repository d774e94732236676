"""Radial functions of states, and their integrals: places and widths are learned.

A bump, a step, and a bend (flat on one side, straight on the other: a stop, a slack, a limit that
is reached). Each is silent until it is placed. Sources: Broomhead & Lowe (1988), Multivariable
functional interpolation and adaptive networks, for the bump; Friedman (1991), Multivariate adaptive
regression splines, for the bend.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

WIDE = 1e3  # of a state's usual size: a width by which a function does not depend on it
NARROW = 10.0  # by which it does
WIDTHS = (0.12, 0.25, 0.5, 1.0)  # of candidates, of a state's usual size
BENT = (0.12, 0.25, 0.5)  # of candidates that are steps or bends
REACH = 2.0  # usual sizes, up to which candidates lie


class Radial(nn.Module):
    """Functions of states over their usual sizes, each of one of the ``KINDS``."""

    def __init__(self, states: int, functions: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(functions, states))
        self.log_width = nn.Parameter(torch.zeros(functions, states))
        self.placed: Tensor
        self.kind: Tensor
        self.register_buffer("placed", torch.zeros(functions))
        self.register_buffer("kind", torch.zeros(functions))  # its number among KINDS

    def forward(self, states: Tensor) -> Tensor:
        """(..., state) -> (..., function)."""
        return self.placed * shaped(states, self.place, self.log_width.exp(), self.kind)

    def blank(self) -> None:
        """No function is placed."""
        for each in (self.place.data, self.log_width.data, self.placed, self.kind):
            each.zero_()

    def put(self, place: Tensor, width: Tensor, kind: Tensor | int = 0) -> int:
        """Place the next function; which it is."""
        number = int(self.placed.sum())
        self.place.data[number], self.log_width.data[number] = place, width.log()
        self.placed[number], self.kind[number] = 1.0, kind
        return number

    def words(self, states: Sequence[str], scales: Tensor) -> list[str]:
        """Where each function is, in the states' own units, and how wide; its number if nowhere."""
        found = []
        place, width = self.place * scales, self.log_width.exp() * scales
        for i, placed in enumerate(self.placed.tolist()):
            said = list(KINDS)[int(self.kind[i])]
            near = [
                f"{state} {said} {place[i, j].item():.3g} within {width[i, j].item():.2g}"
                for j, state in enumerate(states)
                if width[i, j] < NARROW * scales[j]
            ]
            found.append(" and ".join(near) if placed and near else f"learned {i + 1}")
        return found

    def take_back(self) -> None:
        """The function that was placed last is silent again."""
        self.placed[int(self.placed.sum()) - 1] = 0.0

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Of a run that was fitted before there were others, all are bumps."""
        state.setdefault(f"{prefix}kind", torch.zeros_like(self.kind))
        super()._load_from_state_dict(state, prefix, *rest)


def shaped(states: Tensor, place: Tensor, width: Tensor, kind: Tensor) -> Tensor:
    """Functions (..., function) of states (..., state) at places, of widths (function, state).

    Of a ``kind`` (function,) each. A step or a bend is along the states in which it is narrow.

    >>> at = torch.tensor([[-1.0], [0.0], [1.0]])
    >>> one = torch.ones(1, 1)
    >>> shaped(at, 0 * one, 0.1 * one, torch.tensor([2])).squeeze(-1)[1:]  # a bend
    tensor([0.0399, 1.0000])
    """
    numbers = kind.tolist()
    found = states.new_zeros(*states.shape[:-1], len(numbers))
    for number, shape in enumerate(KINDS.values()):
        rows = [i for i, each in enumerate(numbers) if each == number]
        if rows:
            off = (states.unsqueeze(-2) - place[rows]) / width[rows]
            found[..., rows] = shape(off, width[rows])
    return found


def _bump(off: Tensor, width: Tensor) -> Tensor:
    """Of distances (..., function, state) in widths: ``exp(-sum off^2 / 2)``, (..., function)."""
    return torch.exp(-0.5 * off.square().sum(-1))


def _step(off: Tensor, width: Tensor) -> Tensor:
    """Its integral, from 0 to 1."""
    return torch.special.ndtr(_along(off, width))


def _above(off: Tensor, width: Tensor) -> Tensor:
    """The integral of this: 0 below the place, above it the distance, in usual sizes."""
    along = _along(off, width)
    density = torch.exp(-0.5 * along.square()) / math.sqrt(2 * math.pi)
    return width.amin(-1) * (along * torch.special.ndtr(along) + density)


def _below(off: Tensor, width: Tensor) -> Tensor:
    """The same from the other side."""
    return _above(-off, width)


def _along(off: Tensor, width: Tensor) -> Tensor:
    return (off * (width < NARROW)).sum(-1)


KINDS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "near": _bump,
    "beyond": _step,
    "above": _above,
    "below": _below,
}
"""In words, and as functions of distances in widths, and widths (function, state)."""


def candidates(states: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Functions of one state each, over its usual size.

    Places and widths (candidate, state), and kinds (candidate,).
    """
    places, widths, kinds = [], [], []
    for state, kind in itertools.product(range(states), range(len(KINDS))):
        for width in BENT if kind else WIDTHS:
            count = 1 + 2 * round(REACH / width)
            for place in torch.linspace(-REACH, REACH, count):
                places.append([0.0] * states)
                widths.append([WIDE] * states)
                places[-1][state], widths[-1][state] = float(place), width
                kinds.append(kind)
    found = torch.tensor(places).to(like), torch.tensor(widths).to(like)
    return *found, torch.tensor(kinds, device=like.device)
