"""A push that is a sum of waves in time, less a friction: knowledge of a shape, by a name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from groundvae.models.network import perceptron
from groundvae.models.residuals.residual import RESIDUALS, Residual, Seen
from groundvae.models.residuals.table import Table
from groundvae.models.system import Push
from groundvae.models.values import Values


@RESIDUALS.register("waves")
class Waves(Residual):
    """``sum_k w_k^2 (a_k cos(w_k t) + b_k sin(w_k t)) - c * state``; networks of z set all of it.

    With ``w = 2 pi f(z)``, ``a(z)``, ``b(z)``, ``c(z)``. It sees the state that it acts on (a
    velocity) and the time, not the position: it cannot imitate a restoring force as a function of
    state, which is what identifies the physics. Frequencies move with the latent: a network places
    each of the ``waves`` anywhere between ``lowest`` and ``highest`` (Hz); they start evenly
    spread over the octaves. So it follows a forcing of any frequency, beyond the fitted horizon
    too, where fixed Fourier features would repeat. Amplitudes are those of the motion that the
    push alone would drive. ``units`` multiplies the waves, not the friction.
    """

    start: Tensor

    def __init__(
        self,
        acts_on: str,
        *,
        auxiliary: int = 4,
        waves: int = 1,
        lowest: float = 1.0,
        highest: float = 10.0,
        width: int = 128,
        units: str = "",
        tabulated: bool = True,
    ) -> None:
        super().__init__(acts_on, (acts_on, "t"), auxiliary)
        self.waves, self.units, self.tabulated = waves, units, tabulated
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

    def bind(self, seen: Seen) -> Push:
        w, (name,) = self.waves, self.acts_on
        coefficients = self.linear(seen.auxiliary) + self.network(seen.auxiliary)
        shift, cosine, sine, friction = coefficients.split([w, w, w, 1], dim=-1)
        within = torch.sigmoid(self.start + 2 * shift)  # where in the band, on a log scale
        angular = 2 * math.pi * self.lowest * (self.highest / self.lowest) ** within
        braking = friction.squeeze(-1)

        def waves(times: Tensor) -> Tensor:
            phase = times.unsqueeze(-1) * angular
            waves = angular**2 * (cosine * torch.cos(phase) + sine * torch.sin(phase))
            return seen.units * waves.sum(-1)

        force: Callable[[Tensor], Tensor] = waves
        if self.tabulated and seen.stages is not None:
            stages = seen.stages.view(-1, *[1] * (angular.dim() - 1))
            force = Table(seen.stages, waves(stages).unsqueeze(1))

        def push(time: Tensor, states: Values) -> Mapping[str, Tensor]:
            return {name: force(time) - braking * states[name]}

        return push
