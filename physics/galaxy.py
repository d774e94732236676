"""The exponential disc of a galaxy, seen at an angle, on a square image.

Positions on the image run from -1 to 1 between the centres of its outermost pixels: x to the
right, y upwards. An angle is counter-clockwise from x. Source: Freeman (1970), ApJ 160:811;
the parameters are those of Takeishi & Kalousis (2021), section 4.3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

PERIOD = math.pi  # of a position angle, rad: it is an axis, not a direction
REACH = 3  # pixels, as far as seeing spreads light
SOFTENING = 1e-3  # of the radius, in semi-axes: the disc stays differentiable at its centre


def positions(side: int) -> Tensor:
    """X and y of the pixels of a square image, (2, row, column); the first row is the top.

    >>> positions(3)[:, 0, 2].tolist()
    [1.0, 1.0]
    """
    along = torch.linspace(-1, 1, side)
    x, y = torch.meshgrid(along, -along, indexing="xy")
    return torch.stack([x, y])


def rotated(at: Tensor, position_angle: Tensor) -> tuple[Tensor, Tensor]:
    """Positions ``at`` (2, ...) along and across an axis at ``position_angle`` (rad, broadcast).

    >>> along, across = rotated(torch.tensor([0.0, 1.0]), torch.tensor(torch.pi / 2))
    >>> round(float(along), 6), abs(round(float(across), 6))
    (1.0, 0.0)
    """
    x, y = at
    cos, sin = torch.cos(position_angle), torch.sin(position_angle)
    return cos * x + sin * y, cos * y - sin * x


def elliptic_radius(
    along: Tensor, across: Tensor, semi_axis: Tensor, ellipticity: Tensor
) -> Tensor:
    """``sqrt((along / A)^2 + (across / B)^2)`` with ``B = A (1 - ellipticity)``, no unit."""
    minor = semi_axis * (1 - ellipticity)
    return torch.sqrt((along / semi_axis) ** 2 + (across / minor) ** 2 + SOFTENING**2)


def disc(
    at: Tensor, intensity: Tensor, semi_axis: Tensor, ellipticity: Tensor, position_angle: Tensor
) -> Tensor:
    """``I0 exp(-r)`` at positions ``at`` (2, ...), r the elliptic radius; all broadcast.

    ``semi_axis`` is where it has fallen to 1/e along the major axis, in half sides of the image;
    ``position_angle`` (rad) is that of the major axis, and only counts up to half a turn.
    """
    along, across = rotated(at, position_angle)
    return intensity * torch.exp(-elliptic_radius(along, across, semi_axis, ellipticity))


def bulge(at: Tensor, intensity: Tensor, size: Tensor) -> Tensor:
    """``intensity exp(-R / size)`` at positions ``at`` (2, ...), R from the middle; all broadcast.

    Round however the disc is turned. ``size`` in half sides of the image.
    Source: exponential bulges of late spirals, Andredakis & Sanders (1994), MNRAS 267:283.

    >>> at = torch.tensor([[0.0, 0.3], [0.0, 0.4]])
    >>> light = bulge(at, torch.tensor(2.0), torch.tensor(0.5))
    >>> [round(float(each), 2) for each in light]
    [2.0, 0.74]
    """
    return intensity * torch.exp(-elliptic_radius(at[0], at[1], size, torch.zeros_like(size)))


def blurred(light: Tensor, width: Tensor) -> Tensor:
    """Light (..., row, column) as the air and the pixels spread it: by a round Gaussian.

    ``width`` (), its standard deviation, pixels. Beyond its edges an image goes on as at them.
    """
    steps = torch.arange(-REACH, REACH + 1).to(light)
    taps = torch.softmax(-0.5 * (steps / width) ** 2, -1)
    flat = light.reshape(-1, 1, *light.shape[-2:])
    padded = functional.pad(flat, [REACH] * 4, mode="replicate")
    spread = functional.conv2d(
        functional.conv2d(padded, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1)
    )
    return spread.view(light.shape)
