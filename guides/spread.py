"""What posteriors leave open of what is observed, as data: two points for each observation.

The likelihood of a noise that knows its neighbours, expected under posteriors of the latents, is a
mean of squares: of ``off`` and of ``J L``, ``L L^T`` the posterior's covariance. What the latents
took is as smooth as they are, so no share of each sample stands for it. Squares of ``off + J L s``
and ``off - J L s`` have that mean where signs ``s`` are independent; those of Walsh are, over any
so many observations, and nothing is drawn. Sources: Dempster, Laird & Rubin (1977), Maximum
likelihood from incomplete data; Hutchinson (1990), A stochastic estimator of the trace.
"""

from __future__ import annotations

import torch
from torch import Tensor

from groundvae.guides.gaussian import LinearGaussian

JITTER = 1e-10


def signs(count: int, columns: int) -> Tensor:
    """Walsh functions, without the first: signs (count, columns) whose products average to zero.

    >>> signs(4, 3).mT @ signs(4, 3)
    tensor([[4., 0., 0.],
            [0., 4., 0.],
            [0., 0., 4.]])
    """
    both = torch.arange(count).unsqueeze(-1) & torch.arange(1, columns + 1)
    odd = torch.zeros_like(both)
    for bit in range(int(columns).bit_length()):
        odd ^= (both >> bit) & 1
    return 1.0 - 2.0 * odd


def either_way(off: Tensor, jacobian: Tensor, linear: LinearGaussian) -> Tensor:
    """``off`` (n, *event), a step of the posterior up, then one down: (2 n, *event).

    Args:
        off: what is observed less its mean, at the means of posteriors.
        jacobian: of the mean (n, value, latent), in the data's units.
        linear: the posteriors.

    """
    covariance = linear.covariance()
    unit = torch.eye(covariance.shape[-1]).to(covariance)
    factor, _ = torch.linalg.cholesky_ex(covariance + JITTER * unit)
    side = signs(*covariance.shape[:2]).to(off)
    step = (jacobian @ (factor @ side.unsqueeze(-1))).view(off.shape)
    return torch.cat([off + step, off - step])
