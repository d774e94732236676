"""The pendulum: frictionless (what the model knows) and forced and damped (what is true).

State ``(..., 2)``: angle ``theta`` (rad) and angular velocity (rad/s).
Source: Takeishi & Kalousis (2021), section 4.1 and appendix.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def gravity(omega: Tensor) -> Callable[[Tensor], Tensor]:
    """The frictionless pendulum: angle (rad) -> angular acceleration, rad/s^2.

    ``omega`` (rad/s) is bound first: a solver calls the rest thousands of times.

    >>> gravity(torch.tensor(2.0))(torch.tensor(torch.pi / 2))
    tensor(-4.)
    """
    pull = -(omega**2)
    return lambda theta: pull * torch.sin(theta)


def energy(state: Tensor, omega: Tensor) -> Tensor:
    """Energy per moment of inertia, rad^2/s^2; the frictionless pendulum conserves it."""
    theta, velocity = state.unbind(-1)
    return 0.5 * velocity**2 + omega**2 * (1 - torch.cos(theta))


def forced_damped_acceleration(
    time: float,
    theta: np.ndarray,
    velocity: np.ndarray,
    *,
    omega: np.ndarray,
    gamma: np.ndarray,
    amplitude: np.ndarray,
    frequency: np.ndarray,
) -> np.ndarray:
    """The data's law: ``A w^2 cos(2 pi f t) - gamma theta' - w^2 sin(theta)``, rad/s^2.

    ``omega`` in rad/s, ``gamma`` in 1/s, ``amplitude`` without unit, ``frequency`` in Hz.
    """
    force = amplitude * omega**2 * np.cos(2 * np.pi * frequency * time)
    return np.asarray(force - gamma * velocity - omega**2 * np.sin(theta))
