"""Images of galaxies as a grey box: an exponential disc is known, a residual paints the rest.

``image = sky + colour * disc + residual(disc, its own coordinates, z)``. The position angle is
an axis: half a turn later, physics and residual are the same.
Source: Takeishi & Kalousis (2021), section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.data.galaxy import BANDS
from groundvae.models.latent import Latent, LatentSpec
from groundvae.models.painting import FreeImage, FreeProfile, PaintedResidual
from groundvae.models.symmetry import turn_and_flip
from groundvae.models.system import Decoded, System
from groundvae.physics.galaxy import PERIOD, disc

LATENTS = (
    Latent(
        "intensity",
        dist.Uniform(0.1, 1.0),
        "1",
        "central intensity of the disc, mean over the bands",
        constraints.positive,
    ),
    Latent(
        "semi_axis",
        dist.Uniform(0.1, 1.5),
        "half sides",
        "distance along the major axis over which the disc fades to 1/e",
        constraints.positive,
    ),
    Latent(
        "ellipticity",
        dist.Uniform(0.0, 0.999),
        "1",
        "1 less the disc's axis ratio",
        constraints.unit_interval,
    ),
    Latent(
        "position_angle",
        dist.Uniform(0.0, PERIOD),
        "rad",
        "angle of the major axis, counter-clockwise from the right; an axis, so modulo pi",
        constraints.interval(0.0, PERIOD),
        period=PERIOD,
    ),
)
CHUNK = 100  # images drawn at once where no gradient is asked for


class Sky(nn.Module):
    """How light becomes an image: a level of the sky, and one colour for all discs."""

    def __init__(self, bands: int = len(BANDS)) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(bands))
        self.log_colour = nn.Parameter(torch.zeros(bands))

    def forward(self, light: Tensor) -> Tensor:
        """Images (..., band) of light (...), which is the mean over the bands above the sky."""
        colour = len(self.log_colour) * torch.softmax(self.log_colour, -1)
        return self.level + colour * light.unsqueeze(-1)


class Galaxy(System):
    """An exponential disc, a residual, or both; or a free painting without physics.

    Args:
        physics: whether the disc is known.
        residual: adds to the image of the disc.
        free: paints the whole image in their place.

    """

    event_dim = 3
    channels = len(BANDS)

    def __init__(
        self,
        *,
        physics: bool = True,
        residual: PaintedResidual | None = None,
        free: FreeProfile | FreeImage | None = None,
    ) -> None:
        super().__init__()
        if physics == (free is not None):
            raise InputError("expected either physics, with or without a residual, or free")
        self.grounded = physics
        self.residual, self.free = residual, free
        self.latents = LatentSpec(LATENTS if physics else ())
        self.sky = Sky() if physics else None
        user = residual or free
        self.auxiliary = user.auxiliary if user else 0

    def decode(
        self,
        physics: Mapping[str, Tensor],
        auxiliary: Tensor | None,
        inputs: Mapping[str, Tensor],
        *,
        reduced: bool = True,
    ) -> Decoded:
        lead, flat, z = _flattened(physics, auxiliary)
        x, y = torch.meshgrid(inputs["right"], inputs["up"], indexing="xy")
        at = torch.stack([x, y]).unsqueeze(1)
        count = next(iter(flat.values())).shape[0] if flat else len(z)  # type: ignore[arg-type]
        size = count if torch.is_grad_enabled() else CHUNK
        parts = [
            self._draw(at, {k: v[i : i + size] for k, v in flat.items()}, _rows(z, i, size))
            for i in range(0, count, size)
        ]
        full, alone = (
            torch.cat(images).unflatten(0, lead) if images[0] is not None else None
            for images in zip(*parts, strict=True)
        )
        assert full is not None
        return Decoded(full, alone if reduced else None)

    def _draw(
        self, at: Tensor, physics: Mapping[str, Tensor], auxiliary: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Images (image, row, column, band) of the full model and of physics alone."""
        if self.free is not None:
            return self.free(at, auxiliary), None
        assert self.sky is not None
        shape = {name: value[:, None, None] for name, value in physics.items()}
        alone = self.sky(disc(at, **shape))
        if self.residual is None or auxiliary is None:
            return alone, alone
        centred = self.residual.centred(at, auxiliary)
        return self.sky(disc(centred, **shape)) + self.residual(centred, physics, auxiliary), alone

    def augment(self, batch: Batch) -> Batch:
        """Each image turned by an angle of its own, and half of them flipped."""
        return turn_and_flip(batch)


def _flattened(
    physics: Mapping[str, Tensor], auxiliary: Tensor | None
) -> tuple[torch.Size, dict[str, Tensor], Tensor | None]:
    """The latents with all their leading axes as one, and those axes."""
    shapes = [v.shape for v in physics.values()]
    shapes += [] if auxiliary is None else [auxiliary.shape[:-1]]
    lead = torch.broadcast_shapes(*shapes)
    flat = {name: value.expand(lead).reshape(-1) for name, value in physics.items()}
    if auxiliary is None:
        return lead, flat, None
    return lead, flat, auxiliary.expand(*lead, -1).reshape(-1, auxiliary.shape[-1])


def _rows(values: Tensor | None, start: int, size: int) -> Tensor | None:
    return None if values is None else values[start : start + size]


AUXILIARY = 4  # two of them move the centre


def _hybrid() -> Galaxy:
    return Galaxy(residual=PaintedResidual(AUXILIARY))


VARIANTS: Mapping[str, Callable[[], Galaxy]] = {
    "nn-only": lambda: Galaxy(physics=False, free=FreeImage(AUXILIARY + len(LATENTS))),
    "nn-solver": lambda: Galaxy(physics=False, free=FreeProfile(AUXILIARY + len(LATENTS))),
    "physics-only": lambda: Galaxy(),
    "hybrid": _hybrid,
    "hybrid-reg": _hybrid,
}
NOISE, RATE_MULTIPLIER = (
    0.1,
    3.0,
)  # where the learned noise scale starts, of an image's range; its rate_multiplier
OPTIONS: Mapping[str, Any] = {
    "steps": 800,
    "sleep": 0.0,  # moments tell the axis before the first step, and images are costly
    "calibrate": 0.0,
    "batch_size": 50,
    "learning_rate": 3e-3,
    "warmup": 0.1,
}
WEIGHTS: Mapping[str, float] = {
    "ppc": 0.05,  # keeps the disc that of the image: without, the residual paints its edge on
    "hybrid_simulation": 1.0,
}
