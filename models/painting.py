"""Networks that paint images: what a disc leaves out, or all of the image.

They paint at every ``stride``-th pixel and interpolate: what they paint is smooth, and costs a
quarter. Positions are (2, image, row, column): x and y in half sides, see ``physics.galaxy``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from groundvae.data.errors import InputError
from groundvae.models.film import PixelNetwork
from groundvae.physics.galaxy import elliptic_radius, rotated

CENTRE = 2  # parts of z_aux that move the centre
ELLIPSE = 4  # parts of z_aux that make an ellipse where no physics does


def coarsely(paint: Callable[[Tensor], Tensor], at: Tensor, stride: int) -> Tensor:
    """Images (image, row, column, band) of ``paint``: (2, image, pixel) -> (image, pixel, band).

    With a stride of s, a side of s n + 1 pixels is interpolated from n + 1 of them exactly.
    """
    few = at[..., ::stride, ::stride]
    painted = paint(few.flatten(2)).unflatten(1, few.shape[-2:])
    if stride == 1:
        return painted
    pixels = painted.movedim(-1, 1)
    size = [at.shape[-2], at.shape[-1]]
    wide = functional.interpolate(pixels, size, mode="bilinear", align_corners=True)
    return wide.movedim(1, -1)


class PaintedResidual(nn.Module):
    """What a disc of one colour leaves out: other profiles, colours, bulges, dust; off centre.

    A network at every pixel sees the disc, its elliptic radius and the position in the disc's
    own frame, as products that half a turn leaves as they are. So it turns with the disc, and
    is the same at both ends of the position angle's range. The first two parts of z_aux move
    the centre, in the image's frame (``shift`` half sides each); the others say what to paint.
    """

    def __init__(
        self,
        auxiliary: int,
        *,
        bands: int = 3,
        shift: float = 0.02,
        stride: int = 2,
        width: int = 64,
    ) -> None:
        super().__init__()
        if auxiliary <= CENTRE:
            raise InputError(f"z_aux has {auxiliary} parts, expected 3 or more: 2 move the centre")
        self.auxiliary, self.stride = auxiliary, stride
        self.log_shift = nn.Parameter(torch.tensor(math.log(shift)))
        self.network = PixelNetwork(8, auxiliary - CENTRE, bands, width=width)

    def centred(self, at: Tensor, auxiliary: Tensor) -> Tensor:
        """Positions (2, image, row, column) from the centres that z_aux (image, ...) sets."""
        centre = self.log_shift.exp() * auxiliary[:, :CENTRE].T
        return at - centre[..., None, None]

    def forward(self, at: Tensor, physics: Mapping[str, Tensor], auxiliary: Tensor) -> Tensor:
        """What to add, (image, row, column, band), to the disc of ``physics`` (image,)."""
        shape = {name: value.unsqueeze(-1) for name, value in physics.items()}
        latents = auxiliary[:, CENTRE:]
        return coarsely(lambda few: self.network(_frame(few, shape), latents), at, self.stride)


def _frame(at: Tensor, physics: Mapping[str, Tensor]) -> Tensor:
    """Features of positions (2, image, pixel) in a disc's frame, (image, pixel, 8), all even."""
    along, across = rotated(at, physics["position_angle"])
    radius = elliptic_radius(along, across, physics["semi_axis"], physics["ellipticity"])
    near = torch.exp(-radius)
    features = [
        near,
        physics["intensity"] * near,
        torch.exp(-radius / 3),
        torch.exp(-3 * radius),
        (along / physics["semi_axis"]) ** 2 / (1 + radius**2),
        along**2,
        across**2,
        along * across,
    ]
    return torch.stack(features, -1)


class FreeProfile(nn.Module):
    """No law, but its geometry: z sets an ellipse and a centre, and what to paint on them."""

    def __init__(self, auxiliary: int) -> None:
        super().__init__()
        self.auxiliary = auxiliary
        self.log_semi_axis = nn.Parameter(torch.tensor([-1.2, 0.3]))  # mean and spread
        self.painted = PaintedResidual(auxiliary - ELLIPSE)

    def forward(self, at: Tensor, auxiliary: Tensor) -> Tensor:
        """Images (image, row, column, band)."""
        cos, sin, size, shape = auxiliary[:, :ELLIPSE].unbind(-1)
        mean, spread = self.log_semi_axis
        ellipse = {
            "intensity": torch.ones_like(size),
            "semi_axis": torch.exp(mean + spread * size),
            "ellipticity": torch.sigmoid(shape),
            "position_angle": 0.5 * torch.atan2(sin, cos),
        }
        rest = auxiliary[:, ELLIPSE:]
        painted: Tensor = self.painted(self.painted.centred(at, rest), ellipse, rest)
        return painted


class FreeImage(nn.Module):
    """Nothing known: a network at every pixel of z and of waves over the image."""

    def __init__(self, auxiliary: int, *, bands: int = 3, stride: int = 2, waves: int = 4) -> None:
        super().__init__()
        self.auxiliary, self.stride, self.waves = auxiliary, stride, waves
        self.network = PixelNetwork(3 + 4 * waves, auxiliary, bands)
        nn.init.normal_(self.network.head.weight, std=0.01)  # z would have no gradient at zero

    def forward(self, at: Tensor, auxiliary: Tensor) -> Tensor:
        """Images (image, row, column, band)."""
        return coarsely(lambda few: self.network(self._features(few), auxiliary), at, self.stride)

    def _features(self, at: Tensor) -> Tensor:
        x, y = at
        order = 0.5 * math.pi * torch.arange(1, self.waves + 1).to(x)
        phases = [order * place.unsqueeze(-1) for place in at]
        waves = [wave(phase) for phase in phases for wave in (torch.cos, torch.sin)]
        return torch.cat([torch.stack([x, y, x * y], -1), *waves], -1)
