"""The recipe of a fit: its objective, penalties and their weights, guide and options, as values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from groundvae.data.errors import InputError


@dataclass(frozen=True)
class FitOptions:
    """How long and how fast to train. The defaults are the published ones.

    Raises:
        InputError: a number out of its range.

    """

    steps: int = 300
    """Gradient steps of model and guide together; of a fit by evidence, rounds at most."""
    sleep: float = 8.0
    """Before them, for each of them: steps of the guide alone, on simulations of the model."""
    calibrate: float = 1.0
    """After them, for each of them: the guide alone again, mostly on the fitted model's
    simulations."""
    batch_size: int = 200
    """Observations a step."""
    learning_rate: float = 2e-3
    """Highest rate of each phase: a linear rise over a fifth of its steps, then a cosine."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    clip: float = 10.0
    """Largest norm of a gradient, of model and guide each; longer ones are shortened to it."""
    warmup: float = 0.0
    """Share of the steps over which the KL and the penalties rise from 0 to their weights."""
    validate_every: int = 100
    """Steps between two validations by ELBO."""
    patience: int = 8
    """Validations without a better ELBO after which to stop early."""
    seed: int = 0
    """Of parameters, batches and draws."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not self.learning_rate > 0 or not self.clip > 0:
            raise InputError("learning_rate and clip must be above 0")
        if not self.weight_decay >= 0 or not 0 <= self.warmup <= 1:
            raise InputError("weight_decay must be 0 or more, and warmup within 0 .. 1")
        if not 0 <= self.sleep < math.inf or not 0 <= self.calibrate < math.inf:
            raise InputError("sleep and calibrate must be finite and 0 or more")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}, expected 0 or more, below 2**63")


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted, whole, as plain values: Python and the command line use the same.

    >>> Recipe("regularized").options.steps
    300
    """

    loss: str = "exact"
    """A preset of the ELBO with its penalties, see ``inference.preset``."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of penalties, where not those of the preset."""
    guide: str = "structured-normal"
    """The guide, by name."""
    guide_options: Mapping[str, int] = field(default_factory=dict)
    """Sizes of the guide's networks, where not its own."""
    options: FitOptions = field(default_factory=FitOptions)
    """How long and how fast."""
    double: bool = False
    """Whether in double precision: evidence is; gradients do not need it."""


# A neural residual starts silent: simulations teach a guide little before it has learned.
USUAL = Recipe(
    "regularized",
    guide="laplace-normal",
    options=FitOptions(steps=1200, sleep=0.5, calibrate=0.25, learning_rate=4e-3),
)

EVIDENCE = Recipe(guide="modes", options=FitOptions(steps=60), double=True)
"""For residuals of unknown shape: rounds of evidence, no network."""

# Simulations teach an encoder how wide to be; at a mode the curvature says it.
AT_MODES = Recipe(
    "regularized",
    {"hybrid_simulation": 0.0},
    guide="modes-structured",
    options=FitOptions(steps=200, batch_size=200, learning_rate=6e-3),
    double=True,
)
"""For networks that are linear in weights of the observation's own: SVI, each one at its mode."""
