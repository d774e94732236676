"""Images of galaxies: an exponential disc and a bulge are known, a residual paints the rest.

``image = sky + colour * (disc + bulge, through the air) + painting``, moved by an offset.
Source: Takeishi & Kalousis (2021), section 4.3.
"""

from __future__ import annotations

import torch
from pyro.distributions import Normal, Uniform
from torch import Tensor, nn
from torch.distributions.constraints import interval, positive, unit_interval

from groundvae.data import galaxy as data
from groundvae.data.batch import Batch
from groundvae.models.catalogue import Variant, enter
from groundvae.models.function import Function, Nothing
from groundvae.models.greybox import GreyBox
from groundvae.models.latent import Latent
from groundvae.models.noises.correlated import Correlated
from groundvae.models.recipe import FitOptions, Recipe
from groundvae.models.residuals import FreeImage, FreeProfile, Offset, Painting, Residual
from groundvae.models.symmetry import turn_and_flip
from groundvae.models.system import System
from groundvae.models.values import Values
from groundvae.physics.galaxy import PERIOD, blurred, bulge, disc


class Galaxy(Function):
    """A disc and its bulge on a sky of one level, blurred by ``seeing`` (pixels, as of SDSS)."""

    axes = ("row", "column", "band")
    coordinates = {"up": "row", "right": "column"}
    labels = {"band": data.BANDS}
    quantity, limits, chunk = "brightness", (-0.5, 1.5), 100
    derive = staticmethod(data.derive)
    intensity = Latent(
        Uniform(0.1, 1.0), unit="1", meaning="central intensity, mean of bands", support=positive
    )
    semi_axis = Latent(
        Uniform(0.1, 1.5),
        unit="half sides",
        meaning="distance along the major axis over which the disc fades to 1/e",
        support=positive,
    )
    ellipticity = Latent(
        Uniform(0.0, 0.999), unit="1", meaning="1 less the disc's axis ratio", support=unit_interval
    )
    position_angle = Latent(
        Uniform(0.0, PERIOD),
        unit="rad",
        meaning="angle of the major axis, counter-clockwise from the right; an axis, so modulo pi",
        support=interval(0.0, PERIOD),
        period=PERIOD,
    )
    bulge = Latent(
        Normal(0.2, 0.3), unit="1", meaning="central light of a round bulge, over that of the disc"
    )

    def __init__(self, *, seeing: float = 0.5) -> None:
        super().__init__()
        self.seeing = torch.tensor(seeing)
        self.level = nn.Parameter(torch.zeros(len(data.BANDS)))
        self.log_size = nn.Parameter(torch.tensor(-1.4))  # of bulges, semi-axes
        self.log_colour = nn.Parameter(torch.zeros(len(data.BANDS)))

    def predict(self, z: Values, inputs: Values) -> Tensor:
        at = torch.stack(torch.broadcast_tensors(inputs.right, inputs.up))
        light = disc(at, z.intensity, z.semi_axis, z.ellipticity, z.position_angle)
        light = light + bulge(at, z.bulge * z.intensity, self.log_size.exp() * z.semi_axis)
        light = blurred(light.squeeze(-1), self.seeing.to(light)).unsqueeze(-1)
        colour = len(data.BANDS) * torch.softmax(self.log_colour, -1)
        return self.level + colour * light

    def augment(self, batch: Batch) -> Batch:
        """Each image turned by an angle of its own, and half of them flipped."""
        return turn_and_flip(batch)


class Sky(Nothing):
    """No law: an image that is as likely at any angle, and in a mirror."""

    augment = Galaxy.augment


def _model(system: System, *residuals: Residual) -> GreyBox:
    noise = Correlated(share=0.9, knots=12, rate_multiplier=3.0, independent=True, own_spectra=True)
    return GreyBox(system, residuals, noise)


def hybrid() -> GreyBox:
    """A disc, its centre moved, and what is painted on it in its own frame."""
    return _model(Galaxy(), Offset(("right", "up"), scale=0.02), Painting())


# No sleep: moments tell the axis before the first step, and images are costly.
OPTIONS = FitOptions(
    steps=600, sleep=0.0, calibrate=0.0, batch_size=50, learning_rate=3e-3, warmup=0.1
)
EXACT = Recipe(guide="laplace-normal", options=OPTIONS)
# The penalty keeps the disc that of the image: without, the residual paints its edge on.
REGULARIZED = Recipe(
    "regularized", {"ppc": 0.05, "hybrid_simulation": 1.0}, "laplace-normal", options=OPTIONS
)

enter(
    "galaxy",
    "images of galaxies; known: an exponential disc; left out: all else they show",
    Galaxy,
    {
        "nn-only": Variant(lambda: _model(Sky(Galaxy), FreeImage(auxiliary=8)), EXACT),
        "nn-solver": Variant(lambda: _model(Sky(Galaxy), FreeProfile(auxiliary=8)), EXACT),
        "physics-only": Variant(lambda: _model(Galaxy()), EXACT),
        "hybrid": Variant(hybrid, EXACT),
        "hybrid-reg": Variant(hybrid, REGULARIZED),
    },
    data.SOURCE,
)
