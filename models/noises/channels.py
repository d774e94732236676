"""How the channels of an observation (bands, joints) vary together, and how each is white."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from groundvae.data.errors import InputError


class Channels(nn.Module):
    """Shares of a variance of 1, the mean over channels: a smooth part and a detector's.

    Parameters: ``logit_share`` of the smooth part; ``log_diagonal`` and ``lower``, the Cholesky
    factor of the smooth part's covariance (or, where fields of powers of their own are ``mixed``,
    ``mixing`` (channel, field)); ``log_white``, log variances of the detector. Only
    ratios of variances count: both are divided by their means.

    >>> Channels(2, 0.5).covariances(torch.tensor(1.0))
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64, grad_fn=<AddBackward0>)

    Raises:
        InputError: ``count`` is below 1, ``share`` not inside (0, 1).

    """

    def __init__(self, count: int, share: float, *, mixed: bool = False) -> None:
        super().__init__()
        if count < 1:
            raise InputError(f"channels of a noise must be 1 or more, not {count}")
        if not 0 < share < 1:
            raise InputError(f"the smooth share of a noise must be inside (0, 1), not {share}")
        self.count = count
        self.logit_share = nn.Parameter(torch.tensor(math.log(share / (1 - share))))
        if mixed:
            self.mixing = nn.Parameter(contrasts(count))
        else:
            self.log_diagonal = nn.Parameter(torch.zeros(count))
            self.lower = nn.Parameter(torch.zeros(count * (count - 1) // 2))
        self.mixed = mixed
        self.log_white = nn.Parameter(torch.zeros(count))

    @property
    def share(self) -> Tensor:
        """Of the smooth part in the variance, ()."""
        return torch.sigmoid(self.logit_share.double())

    def factor(self) -> Tensor:
        """``A`` (channel, channel) with ``A A^T = B``, the smooth covariance of mean variance 1."""
        if self.mixed:
            factor = self.mixing.double()
        else:
            rows, columns = torch.tril_indices(self.count, self.count, -1)
            factor = torch.diag(self.log_diagonal.double().exp())
            factor = factor.index_put((rows, columns), self.lower.double())
        return factor * (self.count / factor.square().sum()).sqrt()

    def smooth(self) -> Tensor:
        """``B`` (channel, channel)."""
        factor = self.factor()
        return factor @ factor.T

    def white(self) -> Tensor:
        """Variances (channel,) of the detector's noise, of mean 1."""
        return self.count * torch.softmax(self.log_white.double(), 0)

    def variances(self) -> Tensor:
        """Variance (channel,) of both parts."""
        return self.share * self.smooth().diagonal() + (1 - self.share) * self.white()

    def covariances(self, power: Tensor) -> Tensor:
        """Covariances (..., channel, channel) for a ``power`` (..., [field]) of the smooth part."""
        if self.mixed:
            factor = self.factor()
            smooth = self.share * (factor * power.unsqueeze(-2)) @ factor.T
        else:
            smooth = self.share * power.unsqueeze(-1).unsqueeze(-1) * self.smooth()
        return smooth + torch.diag((1 - self.share) * self.white())


def contrasts(count: int) -> Tensor:
    """An orthonormal basis (channel, field): what all channels share, then how they differ.

    >>> torch.allclose(contrasts(3).mT @ contrasts(3), torch.eye(3), atol=1e-6)
    True
    """
    basis = torch.tril(torch.ones(count, count), -1) - torch.diag(torch.arange(float(count)))
    basis[0] = 1.0
    return (basis / basis.norm(dim=1, keepdim=True)).mT.contiguous()
