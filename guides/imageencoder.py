"""The encoder of images: turned to their main axis first, then read by a small convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from groundvae.data.batch import Batch
from groundvae.guides.encoder import Encoder
from groundvae.physics.galaxy import positions, rotated

WINDOW = 0.35  # of the moments, half sides: further out, other objects turn the axis
FINEST = 35  # averages along a side, that larger images are read on
FAINT = 0.1  # light below counts as sky, in units of the data's spread


class ImageEncoder(Encoder):
    """Square images (row, column, band), read on a grid of ``side`` by ``side`` averages.

    The features are those of a strided convolution of the image, turned so that its main axis
    lies flat, and moments of its light: flux of each band, centre, extent, and the cosine and
    sine of twice the angle of the main axis. So one galaxy at all angles is one picture to the
    convolution, and an angle is read with no seam.
    Source: moments of light, Stobie (1980), SPIE 264:208.
    """

    centre: Tensor
    spread: Tensor
    at: Tensor

    def __init__(self, bands: int, *, side: int = FINEST, width: int = 32, read: int = 128) -> None:
        super().__init__()
        self.bands, self.side, self.learned = bands, side, read
        self.register_buffer("centre", torch.zeros(bands))
        self.register_buffer("spread", torch.tensor(1.0))
        self.register_buffer("at", positions(side))
        last = -(-side // 8)
        self.network = nn.Sequential(
            nn.Conv2d(bands, width, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(2 * width * last**2, read),
        )

    @property
    def canonical(self) -> int:
        return self.bands * self.side**2

    @property
    def features(self) -> int:
        return self.learned + self.bands + 6

    @property
    def axis(self) -> tuple[int, int]:
        return self.features - 2, self.features - 1

    def prepare(self, batch: Batch) -> None:
        """Take the sky and the spread of the data from the training batch."""
        there = torch.ones_like(batch.x, dtype=torch.bool)
        there = there if batch.observed is None else batch.observed
        bands = [batch.x[..., i][there[..., i]] for i in range(self.bands)]
        self.centre = torch.stack([band.median() for band in bands])
        self.spread = torch.cat(bands).std() + 1e-12

    def read(self, batch: Batch) -> Tensor:
        image = (batch.x - self.centre) / self.spread
        if batch.observed is not None:  # what is missing is sky
            image = image.masked_fill(~batch.observed, 0.0)
        small = functional.adaptive_avg_pool2d(image.movedim(-1, 1), self.side)
        return small.flatten(1)

    def describe(self, canonical: Tensor) -> Tensor:
        lead = canonical.shape[:-1]
        image = canonical.reshape(-1, self.bands, self.side, self.side)
        moments = self._moments(image)
        learned = self.network(self._levelled(image, moments))
        return torch.cat([learned, moments], -1).reshape(*lead, -1)

    def _moments(self, image: Tensor) -> Tensor:
        """Flux of each band, centre (2), extent, elongation, cosine and sine of twice the axis."""
        window = torch.exp(-self.at.pow(2).sum(0) / (2 * WINDOW**2))
        flux = (image * window).mean((-2, -1))
        light = torch.relu(image.mean(1) - FAINT) * window
        light = light / (light.sum((-2, -1), keepdim=True) + 1e-6)
        x, y = self.at
        xx, yy, xy = ((light * product).sum((-2, -1)) for product in (x * x, y * y, x * y))
        centre = [(light * along).sum((-2, -1)) for along in (x, y)]
        cos, sin = xx - yy + 1e-9, 2 * xy
        length = torch.sqrt(cos**2 + sin**2)
        extent = xx + yy + 1e-9
        shape = [*centre, torch.log(extent), length / extent, cos / length, sin / length]
        return torch.cat([flux, torch.stack(shape, -1)], -1)

    def _levelled(self, image: Tensor, moments: Tensor) -> Tensor:
        """Images turned so that their main axis lies along the rows."""
        angle = 0.5 * torch.atan2(moments[:, -1], moments[:, -2])
        along, across = rotated(self.at.unsqueeze(1), -angle.view(-1, 1, 1))
        places = torch.stack([along, -across], -1)  # the second runs downwards
        return functional.grid_sample(image, places, padding_mode="border", align_corners=True)
