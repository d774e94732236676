"""Terms that are proportional to a state: what is put into a law to see what it would make of them.

Not fitted: ``inference.imitation`` adds them to a fitted model, and asks where its latents go.
"""

from __future__ import annotations

import torch
from torch import Tensor

from groundvae.models.residuals.linear import LinearResidual
from groundvae.models.values import Values


class Proportional(LinearResidual):
    """``sum_j weight_j state_j`` on each state that it acts on; the weights are ``z_aux`` itself.

    Args:
        acts_on: the states whose rates it is added to.
        sees: the states that it is proportional to.

    """

    timed = 0

    def __init__(self, acts_on: tuple[str, ...], sees: tuple[str, ...]) -> None:
        super().__init__(acts_on, sees, len(acts_on) * len(sees))

    @property
    def count(self) -> int:
        return len(self.sees)

    def of_time(self, times: Tensor) -> Tensor:
        return times.new_zeros(*times.shape, 0)

    def of_states(self, times: Tensor, states: Values) -> Tensor:
        return torch.stack([states[name] for name in self.sees], -1)

    def weights(self, auxiliary: Tensor) -> Tensor:
        return auxiliary.unflatten(-1, (len(self.acts_on), self.count))

    def whitened(self, weights: Tensor, own: Tensor) -> Tensor:
        return weights.flatten(-2)

    def own(self, auxiliary: Tensor) -> Tensor:
        return torch.ones_like(auxiliary[..., 0])

    def scales(self, auxiliary: Tensor) -> Tensor:
        return torch.ones_like(auxiliary)

    def stretched(self, columns: Tensor, auxiliary: Tensor) -> Tensor:
        return columns
