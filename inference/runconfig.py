"""What was fitted, in plain values: what a saved run says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from groundvae.models.ownfile import find_system
from groundvae.models.recipe import FitOptions, Recipe

FORMAT = 2


@dataclass(frozen=True)
class RunConfig:
    """What was fitted, in plain values."""

    system: str
    """Its name, or the file that declares it."""
    length: int
    """Samples of an observation that the guide's encoder reads."""
    variant: str = ""
    recipe: Recipe | None = None  # the variant's own
    priors: Mapping[str, str] = field(default_factory=dict)
    """Of latents and of hyperparameters."""
    model: Mapping[str, Any] = field(default_factory=dict)  # whole, as written values
    file: str = ""
    file_hash: str = ""
    """Of a system of one's own: where it is declared, and that file's SHA-256."""
    trained_on: str = ""
    known: Mapping[str, float] = field(default_factory=dict)
    """What the data were like, see ``data.likeness``."""
    format: int = FORMAT

    @property
    def options(self) -> FitOptions:
        """How long and how fast."""
        return self.how.options

    @property
    def how(self) -> Recipe:
        """The recipe, whole."""
        return self.recipe or find_system(self.system).variant(self.variant).recipe
