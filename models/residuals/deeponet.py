"""A network of two: what ``z_aux`` says, times learned functions of time and of the states.

The residual of the paper is a perceptron of everything at once. It takes long to learn a wave, and
its few ``z_aux`` hold all series to one thin manifold: a physics posterior beside it is far too
narrow. This one is told no more, and leaves every observation weights of its own, as many as the
data ask for. Source: Lu et al. (2021), Learning nonlinear operators via DeepONet.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.models.network import FourierTime, perceptron
from groundvae.models.recipe import AT_MODES
from groundvae.models.residuals.linear import LinearResidual
from groundvae.models.residuals.residual import RESIDUALS
from groundvae.models.values import Values

FASTER = 20.0  # than other parameters, at which the logs of scales are learned
FINE = 1000  # Euler's steps of the window, by which it is seen what a push does
OWN = 0.5  # of the log of an observation's own scale, the standard deviation at the start


@RESIDUALS.register("deeponet")
class DeepONet(LinearResidual):
    """``sum_k branch_k(z) trunk_k(t, states)`` on a velocity, that is observed once integrated.

    The trunk is a constant, Fourier features of time, and products of a learned, bounded function
    of the states and one of time. The branch is linear in ``z_aux``, with a mean and a learned
    scale of each feature; its first number is the observation's own scale of all that is of time
    alone. At the start every function of time moves what is observed alike, and little: physics
    first, and what the data ask for grows.

    Args:
        acts_on: a state.
        sees: states; time is seen always.
        auxiliary: numbers of ``z_aux``; the own scale and one for each feature where None.
        pairs, highest: of the Fourier features of time; Hz.
        functions: products of functions of the states and of time.
        width: units of the hidden layers of the functions of the states.
        start: what all functions of time together move, at first, of the data's spread.
        small: standard deviation at first of the weight of a function of the states, in the units
            of the push.

    """

    recipe = AT_MODES
    unit: Tensor

    def __init__(
        self,
        acts_on: str,
        sees: tuple[str, ...] = (),
        *,
        auxiliary: int | None = None,
        pairs: int = 26,
        highest: float = 8.0,
        functions: int = 4,
        width: int = 32,
        start: float = 0.3,
        small: float = 0.1,
    ) -> None:
        functions = functions if sees else 0
        count = 1 + 2 * pairs + functions
        super().__init__(acts_on, sees, 1 + count if auxiliary is None else auxiliary)
        self.functions, self.start = functions, start
        self.time = FourierTime(pairs, highest)
        self.register_buffer("unit", torch.full((count,), small))
        self.own_spread = nn.Parameter(torch.tensor(OWN))
        self.log_scale = nn.Parameter(torch.zeros(count))
        self.branch = nn.Linear(self.auxiliary - 1, count)
        with torch.no_grad():
            self.branch.bias.zero_()
            if auxiliary is None:
                self.branch.weight.copy_(torch.eye(count))
            else:
                self.branch.weight.normal_(std=1 / math.sqrt(auxiliary - 1))
        if functions:
            self.trunk = perceptron(len(sees), functions, width=width, start=1.0)
            self.drift = nn.Linear(self.time.features, functions)
            with torch.no_grad():  # at first nothing but the states moves them
                self.drift.weight.zero_()
                self.drift.bias.fill_(1.0)

    def prepare(self, batch: Batch) -> None:
        """Units in which every function of time moves a path from rest alike, over the window.

        By Euler's steps: to these the first step of a cosine is a small kick, so that fast ones,
        which hardly move a path otherwise, do not begin very large.
        """
        until = float(batch.inputs["t"].max())
        times = torch.linspace(0, until, FINE, dtype=torch.float64, device=self.unit.device)
        features = self.of_time(times.to(self.unit)).double()
        path = features.cumsum(0).cumsum(0) * (until / FINE) ** 2
        values = batch.x if batch.observed is None else batch.x[batch.observed]
        wanted = self.start * float(values.std()) / math.sqrt(self.timed)
        self.unit[: self.timed] = (wanted / path.square().mean(0).sqrt()).to(self.unit)

    @property
    def timed(self) -> int:
        return 1 + self.time.features

    @property
    def count(self) -> int:
        return self.timed + self.functions

    def of_time(self, times: Tensor) -> Tensor:
        features = self.time(times)
        return torch.cat([torch.ones_like(features[..., :1]), features], -1)

    def of_states(self, times: Tensor, states: Values) -> Tensor:
        if not self.functions:
            return times.new_ones(*next(iter(states.values())).shape, 0)
        seen = torch.stack([states[name] for name in self.sees], -1)
        found: Tensor = torch.tanh(self.trunk(seen)) * self.drift(self.time(times))
        return found

    def weights(self, auxiliary: Tensor) -> Tensor:
        return self._weights(auxiliary).unsqueeze(-2)

    def _weights(self, auxiliary: Tensor) -> Tensor:
        found: Tensor = self._scale(auxiliary) * self.branch(auxiliary[..., 1:])
        return found

    def _scale(self, auxiliary: Tensor) -> Tensor:
        """Of the weights (..., feature) of each observation, in the units of the push."""
        scale = self.unit * torch.exp(FASTER * self.log_scale)
        own = torch.exp(self.own_spread * auxiliary[..., :1])
        timed, states = scale.split([self.timed, self.functions])
        return torch.cat([own * timed, states.expand(*own.shape[:-1], -1)], -1)

    @torch.no_grad()
    def auxiliary_of(self, weights: Tensor, auxiliary: Tensor) -> Tensor:
        """The ``z_aux`` (n, auxiliary) nearest to ``weights``, own scales as in ``auxiliary``."""
        found = weights.squeeze(-2) / self._scale(auxiliary) - self.branch.bias
        z = found @ torch.linalg.pinv(self.branch.weight).mT
        return torch.cat([auxiliary[..., :1], z], -1)

    def stretched(self, columns: Tensor, auxiliary: Tensor) -> Tensor:
        own = self._scale(auxiliary)
        moved = own.unsqueeze(-1) * self.branch.weight
        first = torch.zeros_like(moved[..., :1])
        of_time = self.own_spread * self.weights(auxiliary).squeeze(-2)[..., : self.timed]
        first[..., : self.timed, 0] = of_time
        return columns @ torch.cat([first, moved], -1)
