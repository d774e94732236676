"""A perceptron of whatever it may see: the residual of the paper, which knows no shape."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from groundvae.models.network import FourierTime, perceptron
from groundvae.models.residuals.residual import RESIDUALS, Residual, Seen
from groundvae.models.system import OBSERVATION, Push, System
from groundvae.models.values import Values

TIME = "t"


@RESIDUALS.register("network")
class Network(Residual):
    """Perceptrons of chosen states, Fourier features of time, and ``z_aux``.

    One for all rates (or inputs) that it acts on, one for the observation. A push is ``scale``
    times an output of order one, and zero at the start of a fit where ``start`` is 0.

    Args:
        acts_on: states, inputs or ``"observation"``.
        sees: states, inputs, latents, ``"t"``.
        auxiliary: numbers of ``z_aux``.
        pairs, highest: of the Fourier features of time, where it is seen; Hz.
        scale: of rates, in their units; of the observation it is 1.
        width: units of both hidden layers.
        start: size of the last layer's weights at the start, of their usual one.

    """

    def __init__(
        self,
        acts_on: str | tuple[str, ...],
        sees: tuple[str, ...] = (),
        *,
        auxiliary: int = 4,
        pairs: int = 16,
        highest: float = 8.0,
        scale: float = 1.0,
        width: int = 64,
        start: float = 0.0,
    ) -> None:
        super().__init__(acts_on, sees, auxiliary)
        self.scale, self.width, self.start = scale, width, start
        self.time = FourierTime(pairs, highest) if TIME in self.sees else None
        self.names = [name for name in self.sees if name != TIME]
        self.networks = nn.ModuleDict()

    def attach(self, system: System) -> None:
        super().attach(system)
        if self.networks:
            return
        seen = sum(system.visible()[name] for name in self.names)
        inputs = self.auxiliary + seen + (self.time.features if self.time else 0)
        self.outputs = [system.pushable()[name] or 1 for name in self.inside]
        if self.inside:
            self.networks["rates"] = self._perceptron(inputs, sum(self.outputs))
        if self.outside:
            self.networks[OBSERVATION] = self._perceptron(inputs, system.channels)
        self.grid, self.flat = system.on_grid, len(system.axes) == 1

    def _perceptron(self, inputs: int, outputs: int) -> nn.Sequential:
        return perceptron(inputs, outputs, width=self.width, start=self.start)

    def bind(self, seen: Seen) -> Push:
        def push(time: Tensor, states: Values) -> Mapping[str, Tensor]:
            lead = next(iter(states.values())).shape
            lead = lead[:-1] if self.grid else lead
            features = self._features(seen, time.expand(lead), states, lead)
            pushed = self.scale * self.networks["rates"](features)
            each = pushed.split(self.outputs, -1) if self.grid else pushed.unbind(-1)
            return dict(zip(self.inside, each, strict=True))

        return push

    def add(self, seen: Seen, states: Values) -> Tensor:
        times = seen.inputs[TIME]
        lead = torch.broadcast_shapes((*seen.auxiliary.shape[:-1], 1), times.shape)
        spread = Seen(seen.auxiliary.unsqueeze(-2), seen.latents.with_axes(1), seen.inputs)
        features = self._features(spread, times.expand(lead), states, lead)
        added: Tensor = self.networks[OBSERVATION](features)
        return added.squeeze(-1) if self.flat else added

    def _features(self, seen: Seen, time: Tensor, states: Values, lead: torch.Size) -> Tensor:
        """All that is seen, (..., feature)."""
        parts = [seen.auxiliary.expand(*lead, -1)]
        for name in self.names:
            value = next(v[name] for v in (states, seen.latents, seen.inputs) if name in v)
            of_grid = self.grid and name in states
            parts.append(value if of_grid else value.expand(lead).unsqueeze(-1))
        if self.time is not None:
            parts.append(self.time(time))
        return torch.cat(parts, -1)
