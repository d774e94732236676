"""Fixed points of evidence: variances, means and own scales, from what observations say.

Sources: MacKay (1992), Bayesian interpolation; Tipping (2001), Sparse Bayesian learning.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

OLD = 0.1  # observations that a scale's old value is worth
ALIKE = 2.0  # standard deviation of what the log powers of neighbouring knots differ by
FASTEST = 2.0  # most that the log of an own variance moves at once


def log_ratio(up: Tensor, down: Tensor) -> Tensor:
    """Log of a fixed point's ratio, held to a factor of ten; what nobody asks for moves slowly."""
    return torch.log(((up + OLD) / (down + OLD)).clamp(0.1, 10))


def likened(up: Tensor, down: Tensor, logs: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of a fixed point under a prior by which neighbouring knots of a spectrum are alike.

    Evidence alone says of what a dozen observations do not show that it is not there. Of hundreds
    the prior is lost in the sums: it is worth an observation or two.
    Source: Rue & Held (2005), Gaussian Markov random fields, section 3.3.1 (first order).

    Args:
        up: sums of squares of whitened means (state, knot).
        down: sums of how much of their prior variances the data take (state, knot).
        logs: log powers (state, knot), of which neighbours are a random walk.

    >>> likened(torch.zeros(2), torch.zeros(2), torch.tensor([0.0, 4.0]))
    (tensor([2., 0.]), tensor([0., 2.]))

    """
    gap = torch.diff(logs, dim=-1) / ALIKE**2
    pull = 2 * (nn.functional.pad(gap, (0, 1)) - nn.functional.pad(gap, (1, 0)))
    return up + pull.clamp(min=0), down + (-pull).clamp(min=0)


def gains(square: Tensor, told: Tensor) -> Tensor:
    """Evidence that each whitened weight brings, were it the only one, nats; like its arguments.

    Args:
        square: of posterior means of whitened weights.
        told: how much of their prior variances the data take, within 0 .. 1.

    """
    left = (1 - told).clamp(min=torch.finfo(told.dtype).eps)
    return 0.5 * (square / left + torch.log(left))


def means(
    pull: Tensor, gram: Tensor, now: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Means (weight,) under priors of learned variance, these variances, and their covariance.

    Args:
        pull: gradient of the log likelihood at the means of now, (weight,).
        gram: its information, (weight, weight).
        now: the means (weight,).
        variance: of the means' priors (weight,).

    """
    new = now
    for _ in range(3):
        ridge = torch.diag(1 / variance)
        covariance = torch.linalg.inv(gram + ridge)
        new = now + covariance @ (pull - ridge @ now)
        known = (1 - covariance.diagonal() / variance).clamp(min=1e-9)
        ratio = (new**2 / variance + 1e-3) / (known + 1e-3)
        variance = (variance * ratio.clamp(0.1, 10)).clamp(1e-12, 1e6)
    return new, variance, covariance


def own_variances(
    now: Tensor, square: Tensor, told: Tensor, spread: Tensor
) -> tuple[Tensor, Tensor]:
    """Observations' own variances after a step, and the variances of their logs, (n,) each.

    Args:
        now: the own variances (n,).
        square: sums of squares of the posterior means of whitened weights (n,).
        told: sums of how much of their prior variances the data take (n,).
        spread: standard deviation of the logs in the population ().

    """
    log, prior = torch.log(now), spread**-2
    uncertain = 1 / (0.5 * told + prior)
    step = uncertain * (0.5 * (square - told) - prior * log)
    return torch.exp(log + step.clamp(-FASTEST, FASTEST)), uncertain
