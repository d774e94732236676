"""Residuals that paint images: what a disc leaves out, or all of the image.

They paint at every ``stride``-th pixel and interpolate: what they paint is smooth, and costs a
quarter. Positions are (2, image, row, column): x and y in half sides, see ``physics.galaxy``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from groundvae.data.errors import InputError
from groundvae.models.film import PixelNetwork
from groundvae.models.residuals.residual import RESIDUALS, Residual, Seen
from groundvae.models.system import OBSERVATION
from groundvae.models.values import Values
from groundvae.physics.galaxy import elliptic_radius, rotated

CENTRE = 2  # parts of z_aux that move the centre where no other residual does
ELLIPSE = 4  # parts of z_aux that make an ellipse where no physics does
DISC = ("intensity", "semi_axis", "ellipticity", "position_angle")


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


class Painter(Residual):
    """A residual on an image: ``paint`` at positions, for latents of each image."""

    def __init__(self, sees: tuple[str, ...], auxiliary: int) -> None:
        super().__init__(OBSERVATION, (*sees, "right", "up"), auxiliary)

    @abstractmethod
    def paint(self, at: Tensor, latents: Mapping[str, Tensor], auxiliary: Tensor) -> Tensor:
        """Images (image, row, column, band) at positions ``at`` (2, image, row, column)."""

    def add(self, seen: Seen, states: Values) -> Tensor:
        lead = torch.broadcast_shapes(
            seen.auxiliary.shape[:-1], *(value.shape for value in seen.latents.values())
        )
        right, up = seen.inputs.right.squeeze(-1), seen.inputs.up.squeeze(-1)
        size = torch.broadcast_shapes(right.shape, up.shape)[-2:]
        at = torch.stack([place.expand(*lead, *size).reshape(-1, *size) for place in (right, up)])
        latents = {k: v.expand(lead).reshape(-1) for k, v in seen.latents.items()}
        auxiliary = seen.auxiliary.expand(*lead, -1).reshape(-1, self.auxiliary)
        return self.paint(at, latents, auxiliary).unflatten(0, lead)


@RESIDUALS.register("painting")
class Painting(Painter):
    """What a disc of one colour leaves out: other profiles, colours, bulges, dust.

    A network at every pixel sees the disc, its elliptic radius and the position in the disc's
    own frame, as products that half a turn leaves as they are. So it turns with the disc, and
    is the same at both ends of the position angle's range.
    """

    def __init__(
        self, *, auxiliary: int = 2, bands: int = 3, stride: int = 2, width: int = 64
    ) -> None:
        super().__init__(DISC, auxiliary)
        self.stride = stride
        self.network = PixelNetwork(8, auxiliary, bands, width=width)

    def paint(self, at: Tensor, latents: Mapping[str, Tensor], auxiliary: Tensor) -> Tensor:
        shape = {name: latents[name].unsqueeze(-1) for name in DISC}
        return coarsely(lambda few: self.network(_frame(few, shape), auxiliary), at, self.stride)


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


@RESIDUALS.register("free_profile")
class FreeProfile(Painter):
    """No law, but its geometry: z sets a centre and an ellipse, and what to paint on them."""

    def __init__(self, *, auxiliary: int, shift: float = 0.02) -> None:
        super().__init__((), auxiliary)
        if auxiliary <= CENTRE + ELLIPSE:
            raise InputError(
                f"z_aux has {auxiliary} parts, expected {CENTRE + ELLIPSE + 1} or more"
            )
        self.log_semi_axis = nn.Parameter(torch.tensor([-1.2, 0.3]))  # mean and spread
        self.log_shift = nn.Parameter(torch.tensor(math.log(shift)))
        self.painting = Painting(auxiliary=auxiliary - ELLIPSE - CENTRE)

    def paint(self, at: Tensor, latents: Mapping[str, Tensor], auxiliary: Tensor) -> Tensor:
        cos, sin, size, shape = auxiliary[:, :ELLIPSE].unbind(-1)
        mean, spread = self.log_semi_axis
        ellipse = {
            "intensity": torch.ones_like(size),
            "semi_axis": torch.exp(mean + spread * size),
            "ellipticity": torch.sigmoid(shape),
            "position_angle": 0.5 * torch.atan2(sin, cos),
        }
        centre = self.log_shift.exp() * auxiliary[:, ELLIPSE : ELLIPSE + CENTRE].T
        moved = at - centre[..., None, None]
        return self.painting.paint(moved, ellipse, auxiliary[:, ELLIPSE + CENTRE :])


@RESIDUALS.register("free_image")
class FreeImage(Painter):
    """Nothing known: a network at every pixel of z and of waves over the image."""

    def __init__(self, *, auxiliary: int, bands: int = 3, stride: int = 2, waves: int = 4) -> None:
        super().__init__((), auxiliary)
        self.stride, self.waves = stride, waves
        self.network = PixelNetwork(3 + 4 * waves, auxiliary, bands)
        nn.init.normal_(self.network.head.weight, std=0.01)  # z would have no gradient at zero

    def paint(self, at: Tensor, latents: Mapping[str, Tensor], auxiliary: Tensor) -> Tensor:
        return coarsely(lambda few: self.network(self._features(few), auxiliary), at, self.stride)

    def _features(self, at: Tensor) -> Tensor:
        x, y = at
        order = 0.5 * math.pi * torch.arange(1, self.waves + 1).to(x)
        phases = [order * place.unsqueeze(-1) for place in at]
        waves = [wave(phase) for phase in phases for wave in (torch.cos, torch.sin)]
        return torch.cat([torch.stack([x, y, x * y], -1), *waves], -1)
