"""Turns and flips: images of the sky are as likely at any angle, and in a mirror."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from groundvae.data.batch import Batch
from groundvae.physics.galaxy import positions, rotated

WHOLE = 0.999  # weight of what was observed in a pixel, above which that counts as observed


def turn_and_flip(batch: Batch) -> Batch:
    """Each square image (row, column, band) turned by an angle of its own, half of them flipped."""
    n = len(batch)
    angle = 2 * math.pi * torch.rand(n, device=batch.x.device, dtype=batch.x.dtype)
    flipped = torch.rand(n, device=batch.x.device) < 0.5
    x = turned(batch.x, angle, flipped)
    if batch.observed is None:
        return replace(batch, x=x)
    observed = turned(batch.observed.to(x), angle, flipped, mode="bilinear") > WHOLE
    return replace(batch, x=x.masked_fill(~observed, 0.0), observed=observed)


def turned(images: Tensor, angle: Tensor, flipped: Tensor, *, mode: str = "bicubic") -> Tensor:
    """Images turned counter-clockwise by ``angle`` (image,), rad, after a flip where ``flipped``.

    A flip exchanges left and right. Beyond its edges an image goes on as in a mirror.
    """
    at = positions(images.shape[1]).to(images).unsqueeze(1)
    x, y = rotated(at, angle.view(-1, 1, 1))
    x = torch.where(flipped.view(-1, 1, 1), -x, x)
    places = torch.stack([x, -y], -1)  # the second runs downwards
    drawn = functional.grid_sample(
        images.movedim(-1, 1), places, mode=mode, padding_mode="reflection", align_corners=True
    )
    return drawn.movedim(1, -1).contiguous()
