"""The covariance of series that are Markov: a Kalman filter, linear in their length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chain:
    """Series ``y = H f + white``, with ``f`` a stationary Markov process of covariance I.

    Between samples, ``f' = F f + N(0, I - F F^T)``. Channels of one time are taken one after
    the other, which is exact since their white noise is independent, and a missing sample is
    passed over. Whitened values are the filter's innovations over their standard deviations:
    ``W`` is the inverse of C's Cholesky factor. Source: Kalman (1960); Durbin & Koopman (2012),
    section 6.4, univariate treatment; de Jong (1989) for the smoother.

    ``step`` (..., time, state, state), F to each time from the one before; ``loading`` (channel,
    state), H; ``white`` (channel,) variances; ``observed`` (observation, time, channel) or None.
    """

    step: Tensor
    loading: Tensor
    white: Tensor
    observed: Tensor | None
    gain: list[Tensor]  # (..., state) of each sample, time by time and channel by channel
    deviation: list[Tensor]  # (...,) of each innovation, 1 where missing

    @classmethod
    def of(cls, step: Tensor, loading: Tensor, white: Tensor, observed: Tensor | None) -> Chain:
        """Run the part of the filter that needs no data."""
        eye = torch.eye(step.shape[-1], dtype=step.dtype, device=step.device)
        spread = eye
        gains, deviations = [], []
        for time in range(step.shape[-3]):
            move = step[..., time, :, :]
            spread = eye + move @ (spread - eye) @ move.mT
            for channel, load in enumerate(loading.unbind(0)):
                cross = spread @ load
                variance = cross @ load + white[channel]
                gain = cross / variance.unsqueeze(-1)
                if observed is not None:
                    there = observed[:, time, channel]
                    gain = gain * there.unsqueeze(-1)
                    variance = variance.where(there, variance.new_ones(()))
                spread = spread - gain.unsqueeze(-1) * cross.unsqueeze(-2)
                gains.append(gain)
                deviations.append(variance.sqrt())
        return cls(step, loading, white, observed, gains, deviations)

    def whiten(self, values: Tensor) -> Tensor:
        """Innovations (..., observation, time, channel) over their standard deviations."""
        return self._run(values, back=False)

    def color(self, values: Tensor) -> Tensor:
        return self._run(values, back=True)

    def log_det(self) -> Tensor:
        return 2 * torch.stack([each.log() for each in self.deviation], -1).sum(-1)

    def precision(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """By the smoother, backwards."""
        white = self.whiten(values)
        count = len(self.loading)
        state = white.new_zeros(*white.shape[:-2], self.step.shape[-1])
        spread = torch.zeros_like(self.step[..., 0, :, :])
        solved, diagonal = [], []
        for place in reversed(range(len(self.gain))):
            time, channel = divmod(place, count)
            load, gain = self.loading[channel].to(white), self.gain[place].to(white)
            deviation = self.deviation[place]
            there = 1.0 if self.observed is None else self.observed[:, time, channel].double()
            found = white[..., time, channel] / deviation.to(white) - (gain * state).sum(-1)
            state = state + load * found.unsqueeze(-1)
            solved.append(found)
            wide = self.gain[place].unsqueeze(-1)
            diagonal.append(
                there / deviation**2 + (wide.mT @ spread @ wide).squeeze(-1).squeeze(-1)
            )
            carry = torch.eye(len(load), dtype=spread.dtype, device=spread.device)
            carry = carry - wide * self.loading[channel]
            spread = carry.mT @ spread @ carry + _outer(self.loading[channel]) * _square(
                there / deviation**2
            )
            if channel == 0:
                move = self.step[..., time, :, :]
                state = (move.mT.to(state) @ state.unsqueeze(-1)).squeeze(-1)
                spread = move.mT @ spread @ move
        return self._stack(solved[::-1], white), self._stack(diagonal[::-1], white)

    def _run(self, values: Tensor, *, back: bool) -> Tensor:
        """The filter: from values to innovations, or ``back``."""
        count = len(self.loading)
        state = values.new_zeros(*values.shape[:-2], self.step.shape[-1])
        loads = self.loading.to(values).unbind(0)
        found = []
        for time, now in enumerate(values.unbind(-2)):
            move = self.step[..., time, :, :].to(values)
            state = (move @ state.unsqueeze(-1)).squeeze(-1)
            for channel, value in enumerate(now.unbind(-1)):
                gain = self.gain[time * count + channel].to(values)
                deviation = self.deviation[time * count + channel].to(values)
                expected = state @ loads[channel]
                off = value * deviation if back else value - expected
                if self.observed is not None:
                    off = off * self.observed[:, time, channel]
                found.append(expected + off if back else off / deviation)
                state = state + gain * off.unsqueeze(-1)
        return self._stack(found, values)

    def _stack(self, each: list[Tensor], like: Tensor) -> Tensor:
        return torch.stack(each, -1).unflatten(-1, (-1, len(self.loading))).to(like)


def _outer(load: Tensor) -> Tensor:
    return load.unsqueeze(-1) * load


def _square(values: Tensor) -> Tensor:
    return values.unsqueeze(-1).unsqueeze(-1)
