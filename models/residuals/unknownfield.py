"""What moves a field beside its known law, where its shape is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from groundvae.models.residuals import patterns, spectrum
from groundvae.models.residuals.patterns import Patterns
from groundvae.models.residuals.population import Statistics
from groundvae.models.residuals.residual import RESIDUALS
from groundvae.models.residuals.unknown import Unknown
from groundvae.models.system import System
from groundvae.models.values import Values
from groundvae.physics.advection_diffusion import Ends, neighbours

FINEST = 12  # half waves along an axis


@RESIDUALS.register("unknown_field")
class UnknownField(Unknown):
    """Decay, flow, self-advection, reactions: ``y, y_s, y y_s, y^2, y^3``; and sources anywhere.

    As ``Unknown``, but for fields on a line: weights of the observation's own. A source is any
    function of time and space that is not finer than some half waves. The second derivative is
    not offered: it is what diffusion is.

    Args:
        acts_on: the field.
        spacing: of the grid, m.
        ends: what lies beyond it.
        span: length of the window of the sources in time, s; from the data where None.
        frequencies: half waves of a source along an axis at most; no sources where 0.

    """

    EARLIER: ClassVar[Mapping[str, Any]] = {}
    stretch = patterns.STRETCH

    def __init__(
        self,
        acts_on: str,
        *,
        spacing: float,
        ends: Ends = "absorbing",
        span: float | None = None,
        frequencies: int | None = None,
    ) -> None:
        super().__init__(acts_on, (acts_on,), span=span, frequencies=frequencies, learned=0)
        self.spacing, self.ends = spacing, ends

    def attach(self, system: System) -> None:
        self.points = system.visible().get(self.acts_on[0], 1)
        super().attach(system)

    def _likened(self, up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
        """As they are: knots lie on a plane, and a field shows each of them."""
        return up, down

    def _told(self, statistics: Statistics, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Of means, where all fields may share a source besides, of the variance of their own.

        A mean that it could take the place of is not known from these data, however many there are.
        """
        first = torch.arange(len(self.acts_on)).unsqueeze(-1) * self.count
        timed = (first + torch.arange(self.timed)).flatten().to(columns.device)
        pull, told = super()._told(statistics, torch.cat([columns, timed]))
        count, unit = len(columns), torch.eye(len(timed)).to(told)
        cross = told[:count, count:]
        taken = torch.linalg.solve(told[count:, count:] + unit, cross.mT).mT
        return pull[:count] - taken @ pull[count:], told[:count, :count] - taken @ cross.mT

    @property
    def names(self) -> list[str]:
        y = self.sees[0]
        return [y, f"{y}_s", f"{y} {y}_s", f"{y} {y}", f"{y} {y} {y}"]

    def _measure(self, times: Tensor) -> tuple[float, int]:
        return self.stretch * spectrum.duration(times), FINEST

    @property
    def waves(self) -> Patterns:
        assert self.span is not None
        assert self.frequencies is not None
        return Patterns(self.span, self.frequencies, self.points, self.finer)

    def of_states(self, times: Tensor, states: Values) -> Tensor:
        y = states[self.sees[0]] / self.scale_of[0]
        left, right = neighbours(y, self.ends)
        slope = (right - left) / (2 * self.spacing)
        return torch.stack([y, slope, y * slope, y * y, y**3], -1)
