"""A multivariate normal that is drawn from many times at once."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.types import _size


class DenseNormal(dist.MultivariateNormal):
    """A multivariate normal whose factor serves all draws at once.

    Torch's own reads the factor (observation, latent, latent) anew for every draw.
    """

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        factor = self._unbroadcasted_scale_tril
        unit = torch.randn(shape, dtype=factor.dtype, device=factor.device)
        draws = unit.reshape(-1, *factor.shape[:-1]).movedim(0, -1)
        return self.loc + (factor @ draws).movedim(-1, 0).reshape(shape)

    def moved(self, value: Tensor, kept: float) -> Tensor:
        """As ``PushPosterior.moved``."""
        away = (1 - kept**2) ** 0.5 * (self.rsample(value.shape[:1]) - self.loc)
        return self.loc + kept * (value - self.loc) + away
