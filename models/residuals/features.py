"""Functions of the states that an unknown residual is made of: a dictionary nobody has to choose.

Polynomials, and what they cannot follow: drag, dry friction, what saturates, and a law whose
coefficients drift while it is watched.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
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
        self.powers = torch.tensor([[p.count(i) for i in range(one)] for p in chosen])
        self.at = torch.tensor([_place(p, one) for p in chosen], dtype=torch.long)

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

    def summing(
        self, weights: Tensor, scales: Tensor
    ) -> Callable[[Tensor, Sequence[Tensor]], Tensor]:
        """The sum of functions by ``weights`` (function, ...), of a time's share and states (...).

        A law is asked for it at every stage of every step, and each operation on few paths costs as
        much as on hundreds: all products of states are made at once, and each weight (that of a
        monomial by the scales of its states) stands at the first place of its product.

        Args:
            weights: one of each function, which broadcast with the states.
            scales: usual sizes of the states (state,), over which functions are.

        """
        states, degree = len(scales), len(self.factors)
        over, wide = 1 / scales.to(weights), (..., *[None] * (weights.dim() - 1))
        steep = over.unsqueeze(1) / over.new_tensor([SIGN, SATURATED])
        count = len(self.place)
        scaled = (over ** self.powers.to(over)).prod(1)[wide] * weights[:count]
        blank = weights.new_zeros(sum(states**d for d in range(1, degree + 1)), *weights.shape[1:])
        products = blank.index_copy(0, self.at.to(weights.device), scaled)
        square, *bends, drift = weights[count:].unflatten(0, (states, len(BENT))).unbind(1)
        alone = over.square()[wide] * square, over[wide] * drift
        every = torch.cat([products, *alone, torch.stack(bends, 1).flatten(0, 1)])

        def total(share: Tensor, seen: Sequence[Tensor]) -> Tensor:
            first = power = torch.stack(list(seen))
            made = [first]
            for _ in range(1, degree):
                power = (power.unsqueeze(1) * first).flatten(0, 1)
                made.append(power)
            axes = first.dim() - 1
            bent = torch.tanh(first.unsqueeze(1) * steep.view(states, 2, *[1] * axes))
            made += [first.abs() * first, share * first, bent.flatten(0, 1)]
            ahead = (None,) * (first.dim() - every.dim())  # axes that weights have not
            return (every[:, *ahead] * torch.cat(made)).sum(0)

        return total

    def nesting(
        self, weights: Sequence[Tensor], scales: Tensor
    ) -> Callable[[Tensor, Sequence[Tensor]], Tensor]:
        """The same for many paths: no function is made by itself.

        Polynomials are nested (Horner's scheme): what a law costs at a stage then is memory that is
        written and read, and this is a seventh of it.
        """
        sizes = scales.unbind(0)

        def total(share: Tensor, seen: Sequence[Tensor]) -> Tensor:
            seen = [state / size for state, size in zip(seen, sizes, strict=True)]
            found = self._nested((), weights, seen)
            bent = iter(weights[len(self.place) :])
            for state in seen:
                found = torch.addcmul(found, next(bent), state.abs() * state)
                found = torch.addcmul(found, next(bent), torch.tanh(state / SIGN))
                found = torch.addcmul(found, next(bent), torch.tanh(state / SATURATED))
                found = torch.addcmul(found, next(bent), share * state)
            return found

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


def _place(places: Sequence[int], states: int) -> int:
    """Where the product of states at ``places`` stands among all: of one, of two, of three.

    >>> [_place(places, 2) for places in ((0,), (1,), (0, 0), (0, 1), (1, 0))]
    [0, 1, 2, 3, 4]
    """
    before = sum(states**d for d in range(1, len(places)))
    return before + int(np.ravel_multi_index(tuple(places), (states,) * len(places)))
