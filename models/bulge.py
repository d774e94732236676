"""The bulge that galaxies have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from groundvae.physics.galaxy import bulge

START = (0.1, 0.25)


class Bulge(nn.Module):
    """Round light under a disc: two learned numbers for all galaxies.

    ``share`` of the disc's central intensity; ``size``, in semi-axes, over which it fades to 1/e.
    A disc that has to do for a bulge is taken for a rounder one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(START).log())

    @property
    def share(self) -> Tensor:
        return self.log[0].exp()

    @property
    def size(self) -> Tensor:
        return self.log[1].exp()

    def forward(self, at: Tensor, intensity: Tensor, semi_axis: Tensor) -> Tensor:
        """Its light at positions ``at`` (2, ...), under discs of ``intensity``, ``semi_axis``."""
        return bulge(at, self.share * intensity, self.size * semi_axis)
