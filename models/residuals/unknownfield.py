"""What moves a field beside its known law, where its shape is not known."""

from __future__ import annotations

import torch
from torch import Tensor

from groundvae.models.residuals.residual import RESIDUALS
from groundvae.models.residuals.unknown import Unknown
from groundvae.models.values import Values
from groundvae.physics.advection_diffusion import Ends, neighbours


@RESIDUALS.register("unknown_field")
class UnknownField(Unknown):
    """Decay, flow, self-advection, reactions: ``y, y_s, y y_s, y^2, y^3``, in weights of one's own.

    As ``Unknown``, but for fields on a line. The second derivative is not offered: it is what
    diffusion is. Sources in space and time are not among the features: where there is one, the
    residuals are not white, and the report says so.

    Args:
        acts_on: the field.
        spacing: of the grid, m.
        ends: what lies beyond it.

    """

    def __init__(self, acts_on: str, *, spacing: float, ends: Ends = "absorbing") -> None:
        super().__init__(acts_on, (acts_on,), span=1.0, frequencies=0)
        self.spacing, self.ends = spacing, ends

    @property
    def names(self) -> list[str]:
        y = self.sees[0]
        return [y, f"{y}_s", f"{y} {y}_s", f"{y} {y}", f"{y} {y} {y}"]

    def of_time(self, times: Tensor) -> Tensor:
        return times.new_zeros(*times.shape, 1, 0)

    def of_states(self, times: Tensor, states: Values) -> Tensor:
        y = states[self.sees[0]] / self.scale_of[0]
        left, right = neighbours(y, self.ends)
        slope = (right - left) / (2 * self.spacing)
        return torch.stack([y, slope, y * slope, y * y, y**3], -1)
