"""The systems by name: their variants with how each is fitted, and where their data come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pyro.distributions import TorchDistribution

from groundvae.data.errors import InputError, meant
from groundvae.data.source import Source
from groundvae.models.greybox import GreyBox
from groundvae.models.recipe import Recipe
from groundvae.models.registry import Registry
from groundvae.models.system import System


@dataclass(frozen=True)
class Variant:
    """One model of a system, and how it is fitted where nothing else is said."""

    build: Callable[[], GreyBox]
    recipe: Recipe = field(default_factory=Recipe)
    knows: str = ""
    """What its residual was told of the shape of what is missing; "" for nothing."""


@dataclass(frozen=True)
class Entry:
    """One system, as commands and saved runs know it."""

    name: str
    summary: str
    system: type[System]
    """What is known: its axes, its unit, its latents."""
    variants: Mapping[str, Variant]
    source: Source = field(default_factory=Source)
    usual: str = "hybrid-reg"
    """The variant that is taken where none is named."""
    file: str = ""
    """The file that declares it, where that is not one of ours."""

    def variant(self, name: str = "") -> Variant:
        """A variant by name, or the usual one.

        Raises:
            InputError: there is no such variant; the message lists the known ones.

        """
        name = name or self.usual
        if name not in self.variants:
            known = ", ".join(self.variants)
            near = meant(name, self.variants)
            raise InputError(f"{self.name} has no variant {name!r}, known: {known}{near}")
        return self.variants[name]

    def build(
        self, variant: str = "", priors: Mapping[str, TorchDistribution] | None = None
    ) -> GreyBox:
        """A fresh model of one variant, with some priors swapped."""
        return self.variant(variant).build().with_priors(priors or {})


SYSTEMS: Registry[Entry] = Registry(
    "system", "groundvae.systems", source=lambda entry: entry.system
)


def enter(
    name: str,
    summary: str,
    system: type[System],
    variants: Mapping[str, Variant],
    source: Source,
    usual: str = "hybrid-reg",
) -> None:
    """Make a system known by its name, variant by variant.

    Raises:
        InputError: the name is taken by another.

    """
    SYSTEMS.register(name)(Entry(name, summary, system, variants, source, usual))
