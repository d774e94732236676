"""How long and how fast to train: the options of a fit and the rates that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from groundvae.data.errors import InputError


@dataclass(frozen=True)
class FitOptions:
    """How long and how fast to train. The defaults are the published ones."""

    steps: int = 300
    """Gradient steps of model and guide together."""
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

    def kl_weight_at(self, step: int) -> float:
        """Weight of all but the reconstruction at a step (from 1): a cubic rise from 0 to 1.

        For models that a guide cannot learn from simulations before the fit: one that is an
        autoencoder for a while finds a use for z_aux.
        """
        return min(1.0, step / max(self.warmup * self.steps, 1.0)) ** 3


def rate_at(step: int, steps: int) -> float:
    """Learning rate at a step (from 0) of a phase of ``steps``, as a share of the highest."""
    rise = 0.2 * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))
