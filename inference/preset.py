"""Presets: penalties and their weights under one name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from groundvae.data.errors import InputError
from groundvae.inference.elbo import PaperELBO, RegularizedELBO
from groundvae.inference.penalty import PENALTIES, PPC, Penalty, PhysicsSimulationMean, Unmix

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "ppc": 1e-4,
    "unmix": 0.1,
    "physics_simulation": 1e-3,
    "hybrid_simulation": 10.0,
}


def exact(weights: Mapping[str, float]) -> RegularizedELBO:
    """The exact ELBO, with no penalties but those given weights."""
    return RegularizedELBO(PENALTIES, _silent() | dict(weights))


def regularized(weights: Mapping[str, float]) -> RegularizedELBO:
    """The exact ELBO and all four penalties at weights that were chosen by measurement."""
    return RegularizedELBO(PENALTIES, _silent() | dict(DEFAULT_WEIGHTS) | dict(weights))


def paper(weights: Mapping[str, float]) -> PaperELBO:
    """The paper's weighting and penalties, at the weights of its public pendulum experiment."""
    penalties: dict[str, Penalty] = {
        "ppc": PPC(by_noise=False),
        "unmix": Unmix(),
        "physics_simulation": PhysicsSimulationMean(),
    }
    usual = {"ppc": 1e-2, "unmix": 1e-3, "physics_simulation": 1e-1}
    return PaperELBO(penalties, usual | dict(weights), sigma=math.exp(-4.5))


def _silent() -> dict[str, float]:
    """No weight for any penalty, those that others registered included."""
    return dict.fromkeys(PENALTIES, 0.0)


PRESETS: Mapping[str, Callable[[Mapping[str, float]], RegularizedELBO]] = {
    "exact": exact,
    "regularized": regularized,
    "paper": paper,
}


def build_loss(preset: str, weights: Mapping[str, float] | None = None) -> RegularizedELBO:
    """A loss by the name of its preset, with some of its weights replaced.

    >>> build_loss("exact").weights["ppc"]
    0.0
    """
    if preset not in PRESETS:
        raise InputError(f"no loss preset {preset!r}, known: {', '.join(PRESETS)}")
    return PRESETS[preset](weights or {})
