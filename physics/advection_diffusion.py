"""Advection and diffusion on a line of evenly spaced points.

``y_t = diffusion * y_ss + speed * y_s`` by central differences; state ``(..., space)``, in the
units of whatever is carried. The published generator flips the kernel of its convolution;
this is the sign that its data obey: a positive speed carries towards smaller ``s``.
Source: Takeishi & Kalousis (2021), section 4.2 and appendix.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Ends = Literal["absorbing", "reflecting"]


def neighbours(y: Tensor, ends: Ends = "absorbing") -> tuple[Tensor, Tensor]:
    """The left and the right neighbour of every point, both (..., space).

    ``absorbing``: zero beyond the ends; ``reflecting``: the end's own value, so nothing flows.

    >>> neighbours(torch.tensor([1.0, 2.0, 3.0]))
    (tensor([0., 1., 2.]), tensor([2., 3., 0.]))
    """
    first, last = y[..., :1], y[..., -1:]
    if ends == "absorbing":
        first, last = torch.zeros_like(first), torch.zeros_like(last)
    return torch.cat([first, y[..., :-1]], -1), torch.cat([y[..., 1:], last], -1)


def curvature(y: Tensor, spacing: float, ends: Ends = "absorbing") -> Tensor:
    """``y_ss`` of fields (..., space) by central differences; ``spacing`` in m.

    >>> curvature(torch.tensor([0.0, 1.0, 4.0, 9.0]), 1.0)[1:-1]
    tensor([2., 2.])
    """
    left, right = neighbours(y, ends)
    return (left - 2 * y + right) / spacing**2


def half_sine(magnitude: Tensor, points: int) -> Tensor:
    """The initial profile ``magnitude * sin(pi s / s_max)``, zero at both ends, (..., space)."""
    along = torch.linspace(0, torch.pi, points, dtype=magnitude.dtype, device=magnitude.device)
    return magnitude.unsqueeze(-1) * torch.sin(along)


def generator(
    diffusion: np.ndarray, speed: np.ndarray, *, points: int, spacing: float
) -> np.ndarray:
    """The data's law as matrices: ``y_t = G y``, zero beyond the ends.

    ``diffusion`` (m^2/s) and ``speed`` (m/s) are (observation,); G is
    (observation, space, space), 1/s.
    """
    right, left = np.eye(points, k=1), np.eye(points, k=-1)
    second = (right - 2 * np.eye(points) + left) / spacing**2
    first = (right - left) / (2 * spacing)
    return np.asarray(diffusion[:, None, None] * second + speed[:, None, None] * first)
