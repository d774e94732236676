"""The systems by name: where the commands find a model's variants and its data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyro.distributions import TorchDistribution

from groundvae.data import advection_diffusion as advection_diffusion_data
from groundvae.data import gait as gait_data
from groundvae.data import galaxy as galaxy_data
from groundvae.data import pendulum as pendulum_data
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.root import Splits
from groundvae.models import advection_diffusion, gait, galaxy, pendulum
from groundvae.models.greybox import GreyBox
from groundvae.models.noise import GaussianNoise
from groundvae.models.system import System


@dataclass(frozen=True)
class Entry:
    """One system: its data, its variants, and the names that a reader of results sees."""

    name: str
    summary: str
    variants: Mapping[str, Callable[[], System]]
    noise: float  # where the learned noise scale starts, in units of the data
    axes: tuple[str, ...]  # of one observation
    coordinates: Mapping[str, str]  # which coordinate array labels which axis
    quantity: str  # what x is
    unit: str
    references: tuple[str, ...]  # latents that data files may carry
    simulate: Callable[[int, int], Dataset]  # (n, seed)
    options: Mapping[str, Any] = field(default_factory=dict)  # of a fit, where not the usual
    awake: Mapping[str, Any] = field(default_factory=dict)  # likewise, of a fit without sleep
    weights: Mapping[str, float] = field(default_factory=dict)  # of penalties, likewise
    splits: Callable[..., Splits] | None = None  # measured data, looked for in a folder
    files: Mapping[str, str] = field(default_factory=dict)  # of measured data: pattern, content
    source: str = ""  # where measured data come from publicly
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of an axis' entries
    classes: Mapping[int, str] = field(default_factory=dict)  # of measured data, one is chosen
    rate_multiplier: float = 1.0  # of the learned noise scale, see GaussianNoise
    guide: str = "structured-normal"  # the usual one
    limits: tuple[float, float] = (-math.inf, math.inf)  # of x; beyond, it is in other units

    def build(
        self, variant: str = "hybrid-reg", priors: Mapping[str, TorchDistribution] | None = None
    ) -> GreyBox:
        """A fresh model of one variant, with some priors swapped."""
        if variant not in self.variants:
            known = ", ".join(self.variants)
            raise InputError(f"{self.name} has no variant {variant!r}, known: {known}")
        system = self.variants[variant]()
        system.latents = system.latents.with_priors(priors or {})
        return GreyBox(system, GaussianNoise(self.noise, rate_multiplier=self.rate_multiplier))


CATALOGUE: dict[str, Entry] = {
    "pendulum": Entry(
        name="pendulum",
        summary="a forced damped pendulum; known: gravity; left out: forcing and friction",
        variants=pendulum.VARIANTS,
        noise=pendulum.NOISE,
        axes=("time",),
        coordinates={"t": "time"},
        quantity="angle",
        unit="rad",
        references=tuple(pendulum_data.RANGES),
        simulate=pendulum_data.simulate,
        awake=pendulum.AWAKE,
        guide="laplace-normal",
    ),
    "advection_diffusion": Entry(
        name="advection_diffusion",
        summary="advection and diffusion on a line; known: diffusion; left out: advection",
        variants=advection_diffusion.VARIANTS,
        noise=advection_diffusion.NOISE,
        axes=("time", "space"),
        coordinates={"t": "time", "s": "space"},
        quantity="concentration",
        unit="1",
        references=tuple(advection_diffusion_data.RANGES),
        simulate=advection_diffusion_data.simulate,
        options=advection_diffusion.OPTIONS,
        rate_multiplier=advection_diffusion.RATE_MULTIPLIER,
    ),
    "galaxy": Entry(
        name="galaxy",
        summary="images of galaxies; known: an exponential disc; left out: all else they show",
        variants=galaxy.VARIANTS,
        noise=galaxy.NOISE,
        axes=("row", "column", "band"),
        coordinates={"up": "row", "right": "column"},
        quantity="brightness",
        unit="",
        references=galaxy_data.REFERENCES,
        simulate=galaxy_data.simulate,
        splits=galaxy_data.splits,
        files=galaxy_data.FILES,
        source=galaxy_data.SOURCE,
        options=galaxy.OPTIONS,
        weights=galaxy.WEIGHTS,
        rate_multiplier=galaxy.RATE_MULTIPLIER,
        labels={"band": galaxy_data.BANDS},
        classes=galaxy_data.CLASSES,
        limits=(-0.5, 1.5),
    ),
    "gait": Entry(
        name="gait",
        summary="joint angles over a stride; known: Hamilton's equations, H itself is learned",
        variants=gait.VARIANTS,
        noise=gait.NOISE,
        axes=("time", "joint"),
        coordinates={"t": "time"},
        quantity="flexion",
        unit="rad",
        references=gait_data.COVARIATES,
        simulate=gait_data.simulate,
        splits=gait_data.splits,
        files=gait_data.FILES,
        source=gait_data.SOURCE,
        options=gait.OPTIONS,
        weights=gait.WEIGHTS,
        rate_multiplier=gait.RATE_MULTIPLIER,
        guide="laplace-normal",
        labels={"joint": gait_data.JOINTS},
        limits=(-math.pi, math.pi),
    ),
}


def register(entry: Entry) -> None:
    """Make a system of your own known by its name, to commands and saved runs alike.

    See ``examples/spring.py``: one file with latents, a law and a residual has all the rest.

    Raises:
        InputError: the name is taken by another system.

    """
    if CATALOGUE.setdefault(entry.name, entry) is not entry:
        raise InputError(f"there is a system {entry.name!r} already, expected another name")


def find_system(name: str) -> Entry:
    """The entry of a system by its name."""
    if name not in CATALOGUE:
        raise InputError(f"no system {name!r}, known: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]
