"""A network of two: what ``z_aux`` says, times learned functions of time and of the states.

The residual of the paper knows no shape; a perceptron of everything at once takes long to learn
waves. Source: Lu et al. (2021), Learning nonlinear operators via DeepONet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from groundvae.models.network import FourierTime, perceptron
from groundvae.models.residuals.residual import RESIDUALS, Residual, Seen
from groundvae.models.residuals.table import Table
from groundvae.models.system import Push, System
from groundvae.models.values import Values


@RESIDUALS.register("deeponet")
class DeepONet(Residual):
    """``sum_k branch_k(z) trunk_k``, the trunk Fourier features of time and functions of states.

    Args:
        acts_on: one state.
        sees: states; time is seen always.
        auxiliary: numbers of ``z_aux``.
        pairs, highest: of the Fourier features of time; Hz.
        functions: learned functions of the states.
        scale: usual size of the push at the start, in its units.
        width: units of the hidden layers.

    """

    def __init__(
        self,
        acts_on: str,
        sees: tuple[str, ...] = (),
        *,
        auxiliary: int = 12,
        pairs: int = 32,
        highest: float = 10.0,
        functions: int = 8,
        scale: float = 1.0,
        width: int = 64,
    ) -> None:
        super().__init__(acts_on, (*sees, "t"), auxiliary)
        self.scale, self.width, self.functions = scale, width, functions
        self.time = FourierTime(pairs, highest)

    def attach(self, system: System) -> None:
        super().attach(system)
        if hasattr(self, "linear"):
            return
        self.names = [name for name in self.sees if name != "t"]
        functions = self.functions if self.names else 0
        size = 1 + self.time.features + functions
        self.linear = nn.Linear(self.auxiliary, size)
        with torch.no_grad():
            self.linear.weight.normal_(0.0, math.sqrt(2 / (size * self.auxiliary)))
            self.linear.bias.zero_()
        self.branch = perceptron(self.auxiliary, size, width=self.width, start=0.1)
        if functions:
            seen = sum(system.visible()[name] for name in self.names)
            self.trunk = perceptron(seen, functions, width=self.width, start=1.0)

    def bind(self, seen: Seen) -> Push:
        z = seen.auxiliary
        weights = self.scale * (self.linear(z) + self.branch(z))
        timed = 1 + self.time.features
        of_time, of_states = weights[..., :timed], weights[..., timed:]

        def pushed(times: Tensor) -> Tensor:
            features = self.time(times)
            return of_time[..., 0] + (of_time[..., 1:] * features).sum(-1)

        force: Callable[[Tensor], Tensor] = pushed
        if seen.stages is not None:
            features = self.time(seen.stages)
            waves = torch.einsum("...k,tk->t...", of_time[..., 1:], features)
            force = Table(seen.stages, (of_time[..., 0] + waves).unsqueeze(1))

        def push(time: Tensor, states: Values) -> Mapping[str, Tensor]:
            total = force(time)
            if self.names:
                found = self.trunk(torch.stack([states[name] for name in self.names], -1))
                total = total + (of_states * found).sum(-1)
            return {self.acts_on[0]: total}

        return push
