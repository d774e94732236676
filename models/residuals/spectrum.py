"""The frequencies of a push in time whose spectrum is not known."""

from __future__ import annotations

import math

import torch
from torch import Tensor

STRETCH = 1.5  # of the window over the data's span
TOP = 1.25  # highest frequency over that of Nyquist: jumps have harmonics beyond it
DIRECT = 0.4  # likewise, of a push on what is observed: faster ones could follow the noise itself
MOST = 96  # frequencies, where data are long
KNOT = 3  # frequencies from one knot of the spectrum to the next


def window(times: Tensor, top: float) -> tuple[float, int]:
    """Length (s) of the window of some sampled times (..., sample), s, and how many frequencies.

    Args:
        times: (..., sample), s.
        top: highest frequency, over that of Nyquist.

    """
    gaps = torch.diff(times, dim=-1)
    span = STRETCH * float((times[..., -1] - times[..., 0]).max())
    nyquist = 0.5 / float(gaps[gaps > 0].median())
    return span, min(MOST, max(1, int(top * nyquist * span)))


def waves(times: Tensor, frequencies: Tensor) -> Tensor:
    """A constant, cosines and sines of frequencies (Hz) at times (s), (*times, feature)."""
    phase = 2 * math.pi * times.unsqueeze(-1) * frequencies
    return torch.cat([torch.ones_like(phase[..., :1]), torch.cos(phase), torch.sin(phase)], -1)


def knots(frequencies: int) -> int:
    """How many knots the log power of so many frequencies has."""
    return math.ceil((frequencies - 1) / KNOT) + 1


def hats(orders: Tensor, count: int) -> Tensor:
    """How much of each knot's log power a frequency has, (frequency, knot).

    Args:
        orders: oscillations in the window of the data, (frequency,).
        count: of knots.

    """
    at = (orders.double() - 1).clamp(min=0)
    places = KNOT * torch.arange(count, dtype=at.dtype, device=at.device)
    return torch.relu(1 - (at.unsqueeze(-1) - places).abs() / KNOT)
