"""Neural residuals: what the physics leaves out.

A residual declares what it sees (states, time, latents); the system decides where it acts. It
is *bound* to the latents of a batch once per solve, and the bound residual is then evaluated
at every stage of the solver, so that whatever depends on the latents and on time alone is
computed once, for all stages together.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from groundvae.models.network import FourierTime, perceptron

BoundResidual = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""Takes a time, scalar or one for each of many states, and the components of a state, each
``(...)``; gives a push ``(...)``."""


class Table:
    """A function of time, tabulated at the times at which a solver will ask, (stage, ...)."""

    def __init__(self, times: Tensor, values: Tensor) -> None:
        self._times, self._all = times.tolist(), values
        self._values = values.unbind(0)  # one backward node for all look-ups, not one for each

    def __call__(self, time: Tensor) -> Tensor:
        """The value at the known time nearest to ``time``, (...); of many times, (time, ...)."""
        nearest = [self._nearest(wanted) for wanted in time.reshape(-1).tolist()]
        return self._values[nearest[0]] if len(nearest) == 1 else self._all[nearest]

    def _nearest(self, wanted: float) -> int:
        after = bisect.bisect_left(self._times, wanted)
        near = [i for i in (after - 1, after) if 0 <= i < len(self._times)]
        return min(near, key=lambda i: abs(self._times[i] - wanted))


class HarmonicResidual(nn.Module):
    """A push that is a sum of waves in time, less a friction; networks of z set all of it.

    ``sum_k w_k^2 (a_k cos(w_k t) + b_k sin(w_k t)) - c * velocity``, with ``w = 2 pi f(z)``,
    ``a(z)``, ``b(z)``, ``c(z)``.

    It sees the velocity, the time and the auxiliary latent, not the position: it cannot
    imitate a restoring force as a function of state, which is what identifies the physics.
    Frequencies move with the latent: a network places each of the ``waves`` anywhere between
    ``lowest`` and ``highest`` (Hz); they start evenly spread over the octaves. So it follows a
    forcing of any frequency, beyond the fitted horizon too, where fixed Fourier features would
    repeat. Amplitudes are those of the motion that the push alone would drive.
    """

    start: Tensor

    def __init__(
        self,
        auxiliary: int,
        *,
        waves: int = 1,
        lowest: float = 1.0,
        highest: float = 10.0,
        width: int = 128,
    ) -> None:
        super().__init__()
        self.auxiliary = auxiliary
        self.waves = waves
        self.lowest, self.highest = lowest, highest
        self.register_buffer("start", torch.logit((torch.arange(waves) + 0.5) / waves))
        # Shifts of the frequencies, cosines, sines and the friction. At first each is moved by
        # a latent of its own, over what is plausible: simulations of such a model teach a guide
        # to find any wave, before the first step on data. A sine starts smaller, since one that
        # sets in at t = 0 also leaves a drift.
        spread = torch.tensor([1.0] * waves + [0.2] * waves + [0.05] * waves + [0.3])
        self.linear = nn.Linear(auxiliary, len(spread), bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(spread.unsqueeze(1) * torch.eye(len(spread), auxiliary))
        self.network = perceptron(auxiliary, len(spread), width=width, start=0.1)

    def bind(
        self,
        auxiliary: Tensor,
        times: Tensor | None,
        *,
        stiffness: Tensor | float = 1.0,
        gate: Tensor | float = 1.0,
    ) -> BoundResidual:
        """The residual of ``auxiliary`` (..., auxiliary), tabulated at ``times`` (stage,), s.

        ``times=None`` (an adaptive solver does not know its times) tabulates nothing.
        ``stiffness`` (...) multiplies the waves, not the friction: a force given in units of
        the restoring force grows with it. ``gate`` (world, ...) switches the residual off (0)
        in some of several worlds that are solved together.
        """
        w = self.waves
        coefficients = self.linear(auxiliary) + self.network(auxiliary)
        shift, cosine, sine, friction = coefficients.split([w, w, w, 1], dim=-1)
        within = torch.sigmoid(self.start + 2 * shift)  # where in the band, on a log scale
        angular = 2 * math.pi * self.lowest * (self.highest / self.lowest) ** within
        strength = gate * stiffness
        braking = gate * friction.squeeze(-1)

        def waves(times: Tensor) -> Tensor:
            phase = times.view(-1, *[1] * angular.dim()) * angular
            waves = angular**2 * (cosine * torch.cos(phase) + sine * torch.sin(phase))
            return strength * waves.sum(-1).unsqueeze(1)

        force = Table(times, waves(times)) if times is not None else lambda t: waves(t).squeeze(0)
        return lambda time, states: force(time) - braking * states[-1]


class NeuralResidual(nn.Module):
    """A perceptron of chosen states, Fourier features of time and the auxiliary latent.

    ``states`` are the indices of the state that it sees; () sees none. The push is ``scale``
    times an output of order one, and is zero at the start of a fit.
    """

    def __init__(
        self,
        auxiliary: int,
        *,
        states: tuple[int, ...] = (1,),
        time: FourierTime | None = None,
        scale: float = 1.0,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.auxiliary = auxiliary
        self.states = list(states)
        self.time = time
        self.scale = scale
        inputs = auxiliary + len(states) + (time.features if time else 0)
        self.network = perceptron(inputs, 1, width=width, start=0.0)

    def bind(
        self,
        auxiliary: Tensor,
        times: Tensor | None,
        *,
        stiffness: Tensor | float = 1.0,
        gate: Tensor | float = 1.0,
    ) -> BoundResidual:
        """The residual of ``auxiliary`` (..., auxiliary); see ``HarmonicResidual.bind``."""
        strength = gate * stiffness

        def push(time: Tensor, states: Sequence[Tensor]) -> Tensor:
            return strength * self(auxiliary, time.expand_as(states[0]), torch.stack([*states], -1))

        return push

    def forward(self, auxiliary: Tensor, time: Tensor, state: Tensor) -> Tensor:
        """The push (...) at ``time`` (...) and ``state`` (..., dimension)."""
        features = [auxiliary.expand(*state.shape[:-1], -1), state[..., self.states]]
        if self.time is not None:
            features.append(self.time(time).expand(*state.shape[:-1], -1))
        return self.scale * self.network(torch.cat(features, -1)).squeeze(-1)
