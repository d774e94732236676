"""An offset of inputs: where an observation is centred, say."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from groundvae.models.residuals.residual import RESIDUALS, Residual, Seen
from groundvae.models.system import Push
from groundvae.models.values import Values


@RESIDUALS.register("offset")
class Offset(Residual):
    """Each input that it acts on is moved by a number of its own, of learned spread ``scale``."""

    def __init__(self, acts_on: str | tuple[str, ...], *, scale: float) -> None:
        count = 1 if isinstance(acts_on, str) else len(acts_on)
        super().__init__(acts_on, (), count)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def bind(self, seen: Seen) -> Push:
        moved = self.log_scale.exp() * seen.auxiliary

        def push(time: Tensor, states: Values) -> Mapping[str, Tensor]:
            return dict(zip(self.acts_on, (-moved).unbind(-1), strict=True))

        return push
