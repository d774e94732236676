"""Residuals of unknown shape: features of time and of the states, in weights of one's own.

``push = sum_k w_k phi_k(t) + sum_j d_j psi_j(states)`` with weights that belong to the observation:
``w_k ~ N(0, own * scale_k^2)``, ``d_j ~ N(mean_j, scale_j^2)``. ``phi`` are a constant, cosines and
sines over a window longer than the data, so that they do not repeat in it: a Gaussian process
in time whose spectrum is not known; ``psi`` are polynomials of the states, what they cannot
follow, and radial functions that the data place (``guides.functions``). Scales and means belong to
the population and are learned by evidence (``guides.evidence``); what the data do not ask for goes
to zero by itself. ``own`` is a scale of the observation's own, log-normal: one is pushed hard,
another hardly.

Sources: Alvarez, Luengo & Lawrence (2013), Linear latent force models using Gaussian processes;
MacKay (1992), Bayesian interpolation; Tipping (2001), Sparse Bayesian learning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.models.residuals import spectrum
from groundvae.models.residuals.features import Dictionary
from groundvae.models.residuals.learnedweights import SILENT, LearnedWeights
from groundvae.models.residuals.patterns import Patterns
from groundvae.models.residuals.population import Statistics
from groundvae.models.residuals.radial import Radial
from groundvae.models.residuals.residual import RESIDUALS
from groundvae.models.residuals.spectrum import Spectrum
from groundvae.models.system import OBSERVATION, System
from groundvae.models.values import Values

DEGREE = 3
LEARNED = 2  # radial functions
MANY = 1000  # products of states for each function, from which on their sums are nested


@RESIDUALS.register("unknown")
class Unknown(LearnedWeights):
    """A push whose shape is not known.

    Args:
        acts_on: the states whose rates it is added to.
        sees: the states that it may depend on, and inputs; all states, where nothing is said. A
            residual that sees what the law acts by (a position) may imitate it; it then keeps to
            small scales.
        span: length of the window of the features of time, s; from the data where None.
        frequencies: how many; from the data where None.
        degree: of the polynomials of the states.
        learned: how many functions of the states, beside those, the data may place
            (``guides.functions``); of fields none.

    Raises:
        InputError: a degree below 0, or fewer than 0 learned.

    """

    EARLIER: ClassVar[Mapping[str, Any]] = {"learned": 0}
    radial: Radial
    stretch = spectrum.STRETCH  # of the window over the data

    def __init__(
        self,
        acts_on: str | tuple[str, ...],
        sees: tuple[str, ...] | None = None,
        *,
        span: float | None = None,
        frequencies: int | None = None,
        degree: int = DEGREE,
        learned: int = LEARNED,
    ) -> None:
        super().__init__(acts_on, tuple(sees or ()), 0)
        self.given, self.degree, self.learned = sees is not None, degree, learned
        self.span, self.frequencies = span, frequencies
        self.finer = 1  # frequencies in place of one: the window is as much longer
        if degree < 0:
            raise InputError(f"degree of Unknown is {degree}, expected 0 or more")
        if learned < 0:
            raise InputError(f"learned of Unknown is {learned}, expected 0 or more")

    def attach(self, system: System) -> None:
        if not self.given:
            self.sees = tuple(name for name in system.pushable() if name != OBSERVATION)
        super().attach(system)
        if system.on_grid or not self.sees:
            self.learned = 0
        if self.learned and not hasattr(self, "radial"):
            self.radial = Radial(len(self.sees), self.learned)
        seen = getattr(system, "observed", ())
        direct = set(self.acts_on) & set((seen,) if isinstance(seen, str) else seen)
        self.top = spectrum.DIRECT if direct else spectrum.TOP
        self.functions = Dictionary(self.sees, self.degree)
        if self.span is not None:
            self.build()

    def prepare(self, batch: Batch) -> None:
        """Take the window from the data, where it was not given."""
        if self.span is not None:
            return
        self.span, most = self._measure(batch.inputs["t"])
        if self.frequencies is None:
            self.frequencies = most
        self.remember(span=self.span, frequencies=self.frequencies)
        self.build()
        self.to(batch.x.dtype)

    def reach(self, until: float) -> None:
        """Be told of a push up to a time (s) beyond the data: it must not repeat before.

        Its spectrum stays; frequencies lie closer, each with as much less power.
        """
        if self.span is not None and self.frequencies:
            self.finer = max(1, math.ceil(self.stretch * until / self.span))
            self.resize()

    @property
    def names(self) -> list[str]:
        """What the features of the states are, each over its state's scale."""
        return [*self.functions.names, *(f"learned {i + 1}" for i in range(self.learned))]

    @property
    def terms(self) -> list[str]:
        """The same as a reader wants them: a function that was placed says where it is."""
        if not self.learned:
            return self.names
        return [*self.names[: -self.learned], *self.radial.words(self.sees, self.scale_of)]

    @property
    def waves(self) -> Spectrum | Patterns:
        """The functions of time."""
        assert self.span is not None
        assert self.frequencies is not None
        return Spectrum(self.span, self.frequencies, self.finer)

    @property
    def timed(self) -> int:
        return len(self.chosen) if self.span is not None else 0

    @property
    def count(self) -> int:
        return self.timed + len(self.names)

    def of_time(self, times: Tensor) -> Tensor:
        return self.waves.of(times)[..., self.chosen]

    def of_states(self, times: Tensor, states: Values) -> Tensor:
        if not self.sees:
            return times.new_ones(*next(iter(states.values())).shape, 0)
        told = self.functions.of(self._share(times), self._sized(states))
        return torch.cat([told, self.learned_of(states)], -1) if self.learned else told

    def summing(self, weights: Tensor) -> Callable[[Tensor, Values], Tensor]:
        count = len(self.functions.names)
        if not count:
            return super().summing(weights)
        own, others = weights[:count], weights[count:].unbind(0)
        few = MANY * count // len(self.sees) ** self.degree  # paths
        # No fewer states than weights come: of many, products are not made room for in vain.
        small = own[0, ..., 0].numel() < few
        at_once = self.functions.summing(own, self.scale_of) if small else None
        nested = self.functions.nesting(own.unbind(0), self.scale_of)
        learned = bool(self.learned and self.radial.placed.any())

        def total(times: Tensor, states: Values) -> Tensor:
            seen = [states[name].unsqueeze(-1) for name in self.sees]
            share = self._share(times).unsqueeze(-1)
            summed = nested if at_once is None or seen[0].numel() >= few else at_once
            found = summed(share, seen)
            if learned:
                functions = self.learned_of(states).unbind(-1)
                for weight, function in zip(others, functions, strict=True):
                    found = torch.addcmul(found, weight, function.unsqueeze(-1))
            return found

        return total

    def _share(self, times: Tensor) -> Tensor:
        """Times (...), s, as a share of the data's length."""
        assert self.span is not None
        return times * (self.stretch / self.span)

    def _sized(self, states: Values) -> list[Tensor]:
        """The states seen (...), each over its usual size."""
        return [states[name] / s for name, s in zip(self.sees, self.scale_of, strict=True)]

    def seen(self, states: Values) -> Tensor:
        """The states seen over their usual sizes, (..., state)."""
        return torch.stack(self._sized(states), -1)

    def learned_of(self, states: Values) -> Tensor:
        """The learned functions of states (...), (..., function)."""
        if not self.radial.placed.any():  # a law is asked at every stage of every step
            like = states[self.sees[0]]
            return like.new_zeros(*like.shape, self.learned)
        found: Tensor = self.radial(self.seen(states))
        return found

    def blank(self) -> None:
        super().blank()
        if self.learned:
            self.radial.blank()

    def enter(self, effects: Tensor, spread: float) -> None:
        super().enter(effects, spread)
        self.log_variance.data[:, self._silent] = SILENT

    def refit(self, statistics: Statistics, *, own: bool) -> Tensor:
        if statistics.imitation is not None:  # what is not placed keeps to zero
            found = statistics.imitation.view(len(self.acts_on), self.count)
            found[:, self.timed :][:, self._silent] = 1.0
        return super().refit(statistics, own=own)

    def place(
        self, place: Tensor, width: Tensor, kind: Tensor | int, mean: Tensor, variance: Tensor
    ) -> None:
        """Put in one more function (``Radial.put``), its weights' mean and variance (state,)."""
        column = len(self.functions.names) + self.radial.put(place, width, kind)
        self.mean.data[:, column] = mean
        self.log_variance.data[:, column] = variance.log()
        self.mean_variance.data[:, column] = mean**2 + variance

    def take_back(self) -> None:
        """The function that was put in last is silent again."""
        self.radial.take_back()
        self.mean.data[:, self._silent] = 0.0
        self.log_variance.data[:, self._silent] = SILENT

    @property
    def _silent(self) -> Tensor:
        """Places, among the functions of states, of those that are learned and not placed."""
        if not self.learned:
            return torch.zeros(0, dtype=torch.long, device=self.mean.device)
        return len(self.functions.names) + (self.radial.placed == 0).nonzero().squeeze(-1)

    def _measure(self, times: Tensor) -> tuple[float, int]:
        """Length (s) of the window for sampled times (..., sample), s, and how many frequencies."""
        return spectrum.window(times, self.top)
