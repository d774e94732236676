"""The posterior of a model that is linear near a point, under standard normal latents.

``e = A (y - now) + noise``, ``y ~ N(0, I)``, noise standard normal: with ``C = I + A A^T``, mean
``A^T C^-1 (e + A now)`` and covariance ``I - A^T C^-1 A``. In the space of the data or in that of
the latents, whichever is smaller. Source: Rasmussen & Williams (2006), Gaussian processes for
machine learning, section 2.1.
"""

from __future__ import annotations

import torch
from torch import Tensor


class LinearGaussian:
    """Posteriors of n observations.

    Args:
        jacobian: ``A`` (n, value, latent), whitened.
        residual: ``e`` (n, value), whitened, at the point.
        now: the point (n, latent), in standard normal latents.
        widths: standard deviations of the latents' priors (latent,) or (n, latent), where they are
            not 1.

    An observation whose matrices have no factor (a Jacobian beyond all digits) is told nothing.

    Attributes:
        told: how much of each latent's prior variance the data take, (n, latent), within 0 .. 1.
        log_det: log determinant of ``C`` (n,).
        joint: log density of data and latents at the point (n,), without constants.

    """

    def __init__(
        self, jacobian: Tensor, residual: Tensor, now: Tensor, widths: Tensor | None = None
    ) -> None:
        self.widths = torch.ones_like(now[0]) if widths is None else widths
        a = self.jacobian = jacobian * self.widths.unsqueeze(-2)
        now = self.now = now / self.widths  # all that follows is in units of these widths
        self.residual = residual
        self.wide = jacobian.shape[2] >= jacobian.shape[1]
        self.joint = -0.5 * (residual**2).sum(1) - 0.5 * (now**2).sum(1)
        if self.wide:
            unit = torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
            self.factor = self._factor(unit + a @ a.mT)
            shifted = residual + (a @ now.unsqueeze(-1)).squeeze(-1)
            self.half = torch.linalg.solve_triangular(self.factor, a, upper=False)
            whitened = torch.linalg.solve_triangular(
                self.factor, shifted.unsqueeze(-1), upper=False
            )
            self._mean = (self.half.mT @ whitened).squeeze(-1)
            self.told = (self.half**2).sum(1)
        else:
            unit = torch.eye(a.shape[2], dtype=a.dtype, device=a.device)
            self.factor = self._factor(unit + a.mT @ a)
            shifted = residual + (a @ now.unsqueeze(-1)).squeeze(-1)
            projected = a.mT @ shifted.unsqueeze(-1)
            self._mean = torch.cholesky_solve(projected, self.factor).squeeze(-1)
            root = torch.linalg.solve_triangular(
                self.factor, unit.expand_as(self.factor), upper=False
            )
            self.half = root  # of the covariance: root^T root
            self.told = 1 - (root**2).sum(1)
        self.log_det = 2 * self.factor.diagonal(dim1=1, dim2=2).log().sum(1)

    def _factor(self, matrix: Tensor) -> Tensor:
        """Lower factors (n, ...); observations that have none are taken as told nothing."""
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if failed.any():
            factor[failed > 0] = torch.eye(matrix.shape[-1]).to(matrix)
            self.jacobian[failed > 0] = 0.0
        return factor

    @property
    def mean(self) -> Tensor:
        """Of the posterior (n, latent)."""
        return self._mean * self.widths

    @property
    def evidence(self) -> Tensor:
        """Laplace's approximation of log p(x) at the point (n,), less the noise's own constants."""
        return self.joint - 0.5 * self.log_det

    def unexplained(self) -> Tensor:
        """Whitened data less what the middle of the prior says of them, (n, value)."""
        return self.residual + (self.jacobian @ self.now.unsqueeze(-1)).squeeze(-1)

    def weighed(self, values: Tensor) -> Tensor:
        """``C^-1`` times values (n, value, column)."""
        if self.wide:
            return torch.cholesky_solve(values, self.factor)
        a = self.jacobian
        return values - a @ torch.cholesky_solve(a.mT @ values, self.factor)

    def information(self, columns: Tensor) -> Tensor:
        """``A^T C^-1 A`` of some latents, (n, column, column): identity less their covariance."""
        some = self.half[:, :, columns]
        if self.wide:
            return some.mT @ some
        unit = torch.eye(len(columns), dtype=some.dtype, device=some.device)
        return unit - some.mT @ some

    def alone(self, first: int) -> Tensor:
        """``A_p^T C_0^-1 A_p`` (n, first, first) of the first latents, the others unknown.

        What the data tell of them before their own prior is counted.
        """
        told = self.information(torch.arange(first))
        return torch.linalg.solve(self.left(told), told)

    @staticmethod
    def left(told: Tensor) -> Tensor:
        """Identity less ``told`` (n, m, m), which digits must not make singular."""
        unit = torch.eye(told.shape[-1], dtype=told.dtype, device=told.device)
        return (1 + 8 * torch.finfo(told.dtype).eps) * unit - told

    def taken(self, first: int) -> Tensor:
        """Share (n, first) of the information on each of the first latents that others take.

        Within 0 .. 1: near 1, these data cannot tell the latent from what is unknown.
        """
        everything = self.jacobian[..., :first].square().sum(1)
        left = self.alone(first).diagonal(dim1=1, dim2=2)
        share = 1 - left / everything.clamp(min=torch.finfo(left.dtype).tiny)
        return torch.where(everything > 0, share.clamp(0, 1), torch.zeros_like(share))

    def covariance(self) -> Tensor:
        """Of all latents, (n, latent, latent)."""
        covariance = self.half.mT @ self.half
        if self.wide:
            covariance = torch.eye(covariance.shape[-1]).to(covariance) - covariance
        return covariance * self.widths.unsqueeze(-1) * self.widths.unsqueeze(-2)

    def gain(self) -> Tensor:
        """What an undamped step promises, nats (n,)."""
        uphill = (self.jacobian.mT @ self.residual.unsqueeze(-1)).squeeze(-1) - self.now
        moved = (self._mean - self.now) * self.jacobian.any(1)  # what moves nothing gains nothing
        return 0.5 * (moved * uphill).sum(1)

    def step(self, damping: Tensor) -> Tensor:
        """Levenberg's step from the point (n, latent).

        Under a ``damping`` (n, 1) or (n, latent), in units of the prior's precision.
        """
        free = (1 + damping).sqrt()
        a = self.jacobian / free.unsqueeze(-2)
        uphill = (self.jacobian.mT @ self.residual.unsqueeze(-1)).squeeze(-1) - self.now
        uphill = (uphill / free).unsqueeze(-1)
        if self.wide:
            unit = torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
            factor = self._factor(unit + a @ a.mT)
            step = uphill - a.mT @ torch.cholesky_solve(a @ uphill, factor)
        else:
            unit = torch.eye(a.shape[2], dtype=a.dtype, device=a.device)
            step = torch.cholesky_solve(uphill, self._factor(unit + a.mT @ a))
        return step.squeeze(-1) / free * self.widths
