"""Inputs of a law of motion as it reads them: numbers that broadcast, signals at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from groundvae.data.input import BASE
from groundvae.models.values import Values
from groundvae.physics.signal import Interpolation, Signal


@dataclass(frozen=True)
class Known:
    """Which inputs a law declares, and beside what it reads them.

    Args:
        numbers: names of those of one number an observation.
        signals: those over time, and what stands between their samples.
        on_grid: whether states are fields, with an axis behind all others.

    """

    numbers: tuple[str, ...]
    signals: Mapping[str, Interpolation]
    on_grid: bool

    def at(self, inputs: Values) -> Callable[[Tensor], Values]:
        """Of a time (...), s, the inputs beside states (...)."""
        fixed = self._with_numbers(inputs, int(self.on_grid))
        if not self.signals:
            return lambda time: fixed
        signals = self._functions(inputs)
        wide = (..., None) if self.on_grid else (...,)
        return lambda time: fixed.replaced({k: s(time)[wide] for k, s in signals.items()})

    def at_samples(self, inputs: Values) -> Values:
        """The inputs beside states (..., time), at the times of the samples."""
        known, times = self._with_numbers(inputs, 1 + self.on_grid), inputs["t"]
        for name, signal in self._functions(inputs).items():
            by_row = signal.own or times.dim() == 2
            asked = times.view(-1, times.shape[-1]).mT if by_row else times
            value = signal(asked).mT if by_row else signal(asked)
            known = known.replaced({name: value.unsqueeze(-1) if self.on_grid else value})
        return known

    def beside(self, states: Values, told: Values) -> Values:
        """What residuals see: states (...), and behind them inputs that broadcast with them."""
        names = [name for name in (*self.numbers, *self.signals) if name in told]
        if not names:
            return states
        like = next(iter(states.values())).shape
        return states.replaced({name: told[name].expand(like) for name in names})

    def _with_numbers(self, inputs: Values, axes: int) -> Values:
        """Inputs, those of one number an observation with so many ``axes`` behind."""
        names = [name for name in self.numbers if name in inputs]
        numbers = Values({k: inputs[k] for k in names}, "input").with_axes(axes)
        return inputs.replaced(numbers)

    def _functions(self, inputs: Values) -> dict[str, Signal]:
        """Signals as functions of time."""
        return {
            k: Signal(inputs[BASE + k] if BASE + k in inputs else inputs["t"], inputs[k], i)
            for k, i in self.signals.items()
        }
