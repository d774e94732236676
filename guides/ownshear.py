"""The shear by which a push follows its own scale, where both are taken as normal."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Transform, constraints


class OwnShear(Transform):
    """Whitened weights of a push, as an observation's own variance moves from its centre.

    The raw weights stay what they are, so a weight of ``own`` times the variance is as much less
    whitened. On (..., latent): ``score`` is where the own variance stands, ``weights`` those of the
    push, ``spread`` that of the log of own variances.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, centre: Tensor, score: int, weights: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.centre, self.score, self.spread = centre, score, spread
        self.weights = weights.to(centre.device)

    def _log_factor(self, at: Tensor) -> Tensor:
        moved: Tensor = -0.5 * self.spread * (at[..., self.score] - self.centre)
        return moved

    def _call(self, x: Tensor) -> Tensor:
        stretched = x[..., self.weights] * self._log_factor(x).exp().unsqueeze(-1)
        return x.index_copy(-1, self.weights, stretched)

    def _inverse(self, y: Tensor) -> Tensor:
        shrunk = y[..., self.weights] * (-self._log_factor(y)).exp().unsqueeze(-1)
        return y.index_copy(-1, self.weights, shrunk)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log of the determinant, (..., observation)."""
        return len(self.weights) * self._log_factor(x)
