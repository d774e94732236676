"""Functions of the states that an unknown residual is made of: a dictionary nobody has to choose.

Polynomials, and what they cannot follow: drag, dry friction, what saturates, and a law whose
coefficients drift while it is watched.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SIGN = 0.05  # of a state's scale, over which dry friction changes its sign
SATURATED = 0.5  # of a state's scale, from which on a term that saturates hardly grows


@dataclass(frozen=True)
class Feature:
    """One function: ``of`` the time as a share of the data's length, and the states seen.

    States (...) are over their usual size; so is what comes out, (...).
    """

    name: str
    of: Callable[[Tensor, Sequence[Tensor]], Tensor]


def monomial(places: Sequence[int], names: Sequence[str]) -> Feature:
    """The product of the states at some places."""

    def product(share: Tensor, seen: Sequence[Tensor]) -> Tensor:
        value = seen[places[0]]
        for place in places[1:]:
            value = value * seen[place]
        return value

    return Feature(" ".join(names[i] for i in places), product)


def bent(place: int, name: str) -> list[Feature]:
    """Functions of one state that polynomials follow badly."""
    return [
        Feature(f"|{name}| {name}", lambda share, seen: seen[place].abs() * seen[place]),
        Feature(f"sign {name}", lambda share, seen: torch.tanh(seen[place] / SIGN)),
        Feature(f"saturating {name}", lambda share, seen: torch.tanh(seen[place] / SATURATED)),
        Feature(f"t {name}", lambda share, seen: share * seen[place]),
    ]


def dictionary(names: Sequence[str], degree: int) -> list[Feature]:
    """All features of states ``names``; none of degree 0."""
    places = range(len(names))
    found = [
        monomial(chosen, names)
        for d in range(1, degree + 1)
        for chosen in itertools.combinations_with_replacement(places, d)
    ]
    if degree:
        for i, name in enumerate(names):
            found += bent(i, name)
    return found
