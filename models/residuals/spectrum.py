"""The functions of time that a push is made of, and the knots of its spectrum, which is not known.

A constant, cosines and sines over a window longer than the data, so that they do not repeat in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from groundvae.data.errors import InputError

STRETCH = 1.5  # of the window over the data's span
TOP = 1.25  # highest frequency over that of Nyquist: jumps have harmonics beyond it
DIRECT = 0.8  # likewise, of a push on what is observed: faster ones could follow the noise itself
MOST = 96  # frequencies, where data are long
KNOT = 3  # frequencies from one knot of the spectrum to the next


def duration(times: Tensor) -> float:
    """From first to last of sampled times (..., sample), s; of several series, the longest."""
    return float((times[..., -1] - times[..., 0]).max())


def window(times: Tensor, top: float) -> tuple[float, int]:
    """Length (s) of the window of some sampled times (..., sample), s, and how many frequencies.

    Args:
        times: (..., sample), s.
        top: highest frequency, over that of Nyquist.

    Raises:
        InputError: no observation has two samples.

    """
    gaps = torch.diff(times, dim=-1)
    if not bool((gaps > 0).any()):
        raise InputError("no observation has two samples, expected times at which it has changed")
    span = STRETCH * duration(times)
    nyquist = 0.5 / float(gaps[gaps > 0].median())
    return span, min(MOST, max(1, int(top * nyquist * span)))


@dataclass(frozen=True)
class Spectrum:
    """A constant, then the cosines, then the sines of ``frequencies`` over a window.

    Args:
        span: length of the window, s.
        frequencies: how many; none of them, and no constant either, where 0.
        finer: frequencies in place of one; the window is so many times as long, and holds no more.

    >>> Spectrum(2.0, 4, finer=2).count, Spectrum(2.0, 0).count
    (17, 0)

    """

    span: float
    frequencies: int
    finer: int = 1

    @property
    def count(self) -> int:
        """Number of functions."""
        return 1 + 2 * self.frequencies * self.finer if self.frequencies else 0

    @property
    def knots(self) -> int:
        """How many knots the log power has."""
        return math.ceil((self.frequencies - 1) / KNOT) + 1

    @property
    def orders(self) -> Tensor:
        """Oscillations of each frequency in the window of the data, (frequency,), float64."""
        return torch.arange(1, self.frequencies * self.finer + 1).double() / self.finer

    def of(self, times: Tensor) -> Tensor:
        """The functions at ``times`` (...), s, (..., function)."""
        phase = 2 * math.pi * times.unsqueeze(-1) * (self.orders.to(times) / self.span)
        waves = [torch.ones_like(phase[..., :1]), torch.cos(phase), torch.sin(phase)]
        return torch.cat(waves, -1)[..., : self.count]

    @property
    def hats(self) -> Tensor:
        """How much of each knot's log power a function after the constant has, (function, knot)."""
        return hats(self.orders, self.knots).repeat(2, 1)

    def level(self, square: Tensor) -> Tensor:
        """Log power at the knots (..., knot) at which waves of any frequency would do as much.

        Falling with frequency: what is as fast as white noise is noise, where both explain it.

        Args:
            square: of what each function of weight one does, (..., function).

        """
        pair = 0.5 * square[..., 1:].unflatten(-1, (2, -1)).sum(-2)
        share = hats(self.orders, self.knots).to(square)
        return -(torch.log(self.orders.to(square) ** 2 * pair) @ share) / share.sum(0)

    def table(self, variance: Tensor) -> pd.DataFrame:
        """``frequency`` (1/s) and ``amplitude``, the standard deviation of a cosine's weight.

        Args:
            variance: of each function's weight (function,).

        """
        amplitude = variance[1 : 1 + len(self.orders)].sqrt()
        frequency = self.orders / self.span
        return pd.DataFrame({"frequency": frequency.numpy(), "amplitude": amplitude.numpy()})


def hats(orders: Tensor, count: int) -> Tensor:
    """How much of each of ``count`` knots an order (order,) from 1 on has, (order, knot)."""
    at = (orders.double() - 1).clamp(min=0)
    places = KNOT * torch.arange(count, dtype=at.dtype, device=at.device)
    return torch.relu(1 - (at.unsqueeze(-1) - places).abs() / KNOT)
