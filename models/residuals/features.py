"""Functions of the states that an unknown residual is made of: a dictionary nobody has to choose.

Polynomials, and what they cannot follow: drag, dry friction, what saturates, and a law whose
coefficients drift while it is watched.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

SIGN = 0.05  # of a state's scale, over which dry friction changes its sign
SATURATED = 0.5  # of a state's scale, from which on a term that saturates hardly grows
BENT = ("|{0}| {0}", "sign {0}", "saturating {0}", "t {0}")


class Dictionary:
    """Monomials up to a degree of some states, then of each what polynomials follow badly.

    All at once: a law is asked for them at every stage of every step.

    Args:
        states: their names.
        degree: of the monomials; with a degree of 0 there are no functions at all.

    >>> Dictionary(["v"], 2).names
    ['v', 'v v', '|v| v', 'sign v', 'saturating v', 't v']
    >>> Dictionary(["v"], 2).of(torch.tensor(0.5), [torch.tensor(2.0)])[:3]
    tensor([2., 4., 4.])

    """

    def __init__(self, states: Sequence[str], degree: int) -> None:
        chosen = [
            places
            for d in range(1, degree + 1)
            for places in itertools.combinations_with_replacement(range(len(states)), d)
        ]
        self.names = [" ".join(states[i] for i in places) for places in chosen]
        self.names += [kind.format(state) for state in states if degree for kind in BENT]
        one = len(states)  # where a factor of one stands, behind the states
        self.place = {places: i for i, places in enumerate(chosen)}
        padded = [[*places, *[one] * (degree - len(places))] for places in chosen]
        self.factors = torch.tensor(padded, dtype=torch.long).view(len(chosen), degree).T

    def of(self, share: Tensor, seen: Sequence[Tensor]) -> Tensor:
        """Their values (..., function).

        Args:
            share: the time as a share of the data's length, (...).
            seen: each of the states (...) over its usual size.

        """
        if not self.names:
            return seen[0].new_zeros(*seen[0].shape, 0)
        states = torch.stack([*seen, torch.ones_like(seen[0])])
        first, *others = self.factors.to(states.device)
        values = states[first]
        for factor in others:
            values = values * states[factor]
        state = states[:-1]
        bent = [
            state.abs() * state,
            torch.tanh(state / SIGN),
            torch.tanh(state / SATURATED),
            share * state,
        ]
        return torch.cat([values, torch.stack(bent, 1).flatten(0, 1)]).movedim(0, -1)

    def summed(self, weights: Sequence[Tensor], share: Tensor, seen: Sequence[Tensor]) -> Tensor:
        """The sum of ``weights`` times functions, (...), of which none is made by itself.

        Polynomials are nested (Horner's scheme): what a law costs at a stage is memory that is
        written and read, and this is a seventh of it.

        Args:
            weights: one of each function, which broadcast with the states.
            share: the time as a share of the data's length.
            seen: each of the states (...) over its usual size.

        """
        assert self.names, "there are no functions at all"
        total = self._nested((), weights, seen)
        bent = iter(weights[len(self.place) :])
        for state in seen:
            total = torch.addcmul(total, next(bent), state.abs() * state)
            total = torch.addcmul(total, next(bent), torch.tanh(state / SIGN))
            total = torch.addcmul(total, next(bent), torch.tanh(state / SATURATED))
            total = torch.addcmul(total, next(bent), share * state)
        return total

    def _nested(
        self, prefix: tuple[int, ...], weights: Sequence[Tensor], seen: Sequence[Tensor]
    ) -> Tensor:
        """All monomials that begin with ``prefix``, without it: ``w + sum_i s_i (w_i + ...)``."""
        first = prefix[-1] if prefix else 0
        total = weights[self.place[prefix]] if prefix else torch.zeros_like(seen[0])
        for i in range(first, len(seen)):
            longer = (*prefix, i)
            if longer in self.place:
                total = torch.addcmul(total, seen[i], self._nested(longer, weights, seen))
        return total
