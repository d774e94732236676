"""The systems by name: where the commands find a model's variants and its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyro.distributions import TorchDistribution

from groundvae.data import pendulum as pendulum_data
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.models import pendulum
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
    truths: tuple[str, ...]  # latents that data files may carry
    simulate: Callable[[int, int], Dataset]  # (n, seed)

    def build(
        self, variant: str = "hybrid-reg", priors: Mapping[str, TorchDistribution] | None = None
    ) -> GreyBox:
        """A fresh model of one variant, with some priors swapped."""
        if variant not in self.variants:
            known = ", ".join(self.variants)
            raise InputError(f"{self.name} has no variant {variant!r}, known: {known}")
        system = self.variants[variant]()
        system.grounding = system.grounding.with_priors(priors or {})
        return GreyBox(system, GaussianNoise(self.noise))


CATALOGUE: Mapping[str, Entry] = {
    "pendulum": Entry(
        name="pendulum",
        summary="a forced damped pendulum; known: gravity; left out: forcing and friction",
        variants=pendulum.VARIANTS,
        noise=pendulum.NOISE,
        axes=("time",),
        coordinates={"t": "time"},
        quantity="angle",
        unit="rad",
        truths=tuple(pendulum_data.RANGES),
        simulate=pendulum_data.simulate,
    )
}


def find_system(name: str) -> Entry:
    """The entry of a system by its name."""
    if name not in CATALOGUE:
        raise InputError(f"no system {name!r}, known: {', '.join(CATALOGUE)}")
    return CATALOGUE[name]
