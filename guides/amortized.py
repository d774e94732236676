"""Guides that are networks alone, and the phases in which they learn: sleep, wake, calibrate."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping

import pyro
import pyro.distributions as dist
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.descent import Descent
from groundvae.guides.guide import Guide, ReadingGuide
from groundvae.guides.phase import Fitting, Phase
from groundvae.models.greybox import AUXILIARY

UNCONSTRAINED = "physics_unconstrained"
GENTLE = 0.5  # of the learning rate, the share that is left after a guide slept
SHARP = 0.2  # of a fresh model's noise, the share that is left before a guide sleeps


class AmortizedGuide(ReadingGuide):
    """A guide that is networks alone. Subclasses say how z_aux and the physics are drawn."""

    searches = False

    def phases(self, fitting: Fitting) -> tuple[Phase, ...]:
        """Sleep, wake, calibrate; asleep only where the loss has simulations of the model.

        Asleep, the guide alone learns to invert the model as it is, from simulations; awake,
        both learn from the data. So the first steps on data find a guide that already tells
        one frequency from another. Calibrating, the guide alone makes its intervals as wide as
        the fitted model says. Source: Hinton et al. (1995), the wake-sleep algorithm.
        """
        last = share(fitting.options.calibrate, fitting)
        calibrate = Phase("calibrate", last, self, lambda f: asleep(self, f, last))
        sleeps = fitting.objective.sleeps(fitting.model, self)
        return (*self.learned(fitting), *([calibrate] if last and sleeps else []))

    def learned(self, fitting: Fitting) -> tuple[Phase, ...]:
        """Sleep and wake."""
        before = share(fitting.options.sleep, fitting)
        slept = bool(before) and fitting.objective.sleeps(fitting.model, self)

        def sleep(f: Fitting) -> Descent:
            # Noisy simulations teach a guide little; awake, the noise finds its own scale.
            f.model.noise.sharpen(SHARP)
            return asleep(self, f, before)

        wake = Phase(
            "wake",
            fitting.options.steps,
            self,
            lambda f: awake(self, f, slept=slept),
            validated=True,
            rising=math.ceil(fitting.options.warmup * fitting.options.steps),
        )
        return (Phase("sleep", before, self, sleep), wake) if slept else (wake,)

    def forward(self, batch: Batch, found: object = None) -> None:
        self.population()
        canonical = self.encoder.read(batch)
        with pyro.plate("observation", len(batch), dim=-1):
            self.draw(canonical)

    @abstractmethod
    def draw(self, canonical: Tensor) -> None:
        """Sample ``z_aux`` and, through ``draw_physics``, the physics latents."""

    def draw_physics(self, unconstrained: dist.TorchDistribution) -> None:
        """Sample the physics latents together, then place each at its own site."""
        self.place_physics(pyro.sample(UNCONSTRAINED, unconstrained, infer={"is_auxiliary": True}))

    def sites(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        known = {name: latents[name] for name in [AUXILIARY] if self.auxiliary}
        if len(self.latents):
            known[UNCONSTRAINED] = self.latents.unconstrain(latents)
        return known


def share(of_steps: float, fitting: Fitting) -> int:
    """Steps of a phase that is given as a share of those awake."""
    return round(of_steps * fitting.options.steps)


def asleep(guide: Guide, fitting: Fitting, steps: int) -> Descent:
    """The guide alone, on simulations of the model as it is."""
    return Descent(
        fitting,
        lambda batch, _: fitting.objective.asleep(fitting, guide, batch),
        [guide],
        steps=steps,
        rate=fitting.options.learning_rate,
    )


def awake(guide: Guide, fitting: Fitting, *, slept: bool) -> Descent:
    """Model and guide together; a guide that is shaken loses what it learned asleep."""
    options = fitting.options
    return Descent(
        fitting,
        lambda batch, kl: fitting.objective.joint(fitting, guide, batch, kl),
        [fitting.model, guide],
        steps=options.steps,
        rate=(GENTLE if slept else 1.0) * options.learning_rate,
        warmup=options.warmup,
    )
