"""An affine change of coordinates of each observation's own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Transform, constraints


class TriangularAffine(Transform):
    """``centre + factor @ value``, of each observation its own; ``factor`` is lower triangular."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, centre: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.centre, self.factor = centre, factor

    def _call(self, x: Tensor) -> Tensor:
        return self.centre + torch.einsum("...ij,...j->...i", self.factor, x)

    def _inverse(self, y: Tensor) -> Tensor:
        off = (y - self.centre).unsqueeze(-1)
        return torch.linalg.solve_triangular(self.factor, off, upper=False).squeeze(-1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Log of the determinant, (..., observation)."""
        log_det = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return log_det.expand(x.shape[:-1])
