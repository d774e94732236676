"""Hidden laws that nothing was chosen on: the method stood before they were written.

Families that ``laws.py`` does not hold, on the same physics, so that a table may say how intervals
do where no setting was looked at beside the law that it is scored on. Textbook terms (a gap in a
bearing, a magnet, a one-way damper, friction that grows with the load, a switch, small swings,
migration), the ranges ours.

>>> sorted(FRESH)[:3]
['backlash', 'bearing', 'kicks']
>>> FRESH["kicks"].simulate(2, seed=1)["x"].shape
(2, 50)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from laws import LAWS, Array, Latents, Law, _law

LOOSE = 0.01  # m, over which a gap closes


def _backlash(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """Nothing pulls within a gap, and what pulls beyond it begins at its edge."""
    gap, soft = z["gap"], LOOSE
    beyond = soft * (np.logaddexp(0, (q - gap) / soft) - np.logaddexp(0, (-q - gap) / soft))
    return z["omega"] ** 2 * (q - beyond) - z["friction"] * v


def _magnet(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """One that pulls from 2 m off."""
    return z["pull"] / (2.0 - q) ** 2 - z["friction"] * v


def _one_way(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """A damper that works in one direction."""
    return -z["friction"] * 0.01 * np.logaddexp(0, v / 0.01)


def _relay(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """A switch that pushes back to the middle, and sees how fast it goes."""
    return -z["height"] * np.tanh((q + z["ahead"] * v) / 0.03)


def _kicks(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """Three short ones, of 50 ms."""
    when, height = z["when"][:, :3], z["height"][:, :3]
    return (height * np.exp(-0.5 * ((t - when) / 0.05) ** 2)).sum(1)


def _rough(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """Random Fourier features of an Ornstein-Uhlenbeck process of 0.2 s: its spectrum's tails."""
    frequency = np.tan(0.49 * np.pi * z["shares"]) / 0.2
    return z["amplitude"] * np.sqrt(2 / 30) * np.cos(frequency * t + 2 * np.pi * z["phases"]).sum(1)


def _bearing(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """Dry friction under the rod's pull: weight along the rod and what the turn asks for."""
    load = z["omega"] ** 2 * np.cos(q) + v * v
    return -z["dry"] * np.tanh(v / 0.02) * np.abs(load)


def _linearized(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """A pendulum, of which the known law is that of small swings."""
    return z["omega"] ** 2 * (q - np.sin(q)) - z["friction"] * v


def _run_up(t: float, q: Array, v: Array, z: Mapping[str, Array]) -> Array:
    """A drive that grows while it is watched."""
    return z["amplitude"] * np.exp(z["growth"] * t) * np.sin(z["frequency"] * t + z["phase"])


def _migration() -> Law:
    """Prey that come and go: as many a year whatever there are, more in later years."""
    base = LAWS["lotka_season"]

    def draw(random: np.random.Generator, n: int) -> Latents:
        return {
            **base.draw(random, n),
            "arrive": random.uniform(0.0, 0.4, n),
            "more": random.uniform(0.0, 0.05, n),
        }

    def rate(t: float, y: Array, z: Mapping[str, Array]) -> Array:
        known = base.rate(t, y, {**z, "season": 0.0 * z["season"], "crowding": 0.0 * z["season"]})
        return known + np.stack([z["arrive"] + z["more"] * t, np.zeros_like(z["arrive"])])

    return replace(base, name="migration", draw=draw, rate=rate)


FRESH: dict[str, Law] = {
    law.name: law
    for law in (
        _law("backlash", "spring", {"gap": (0.02, 0.15), "friction": (0.0, 0.3)}, _backlash),
        _law("magnet", "spring", {"pull": (0.0, 0.3), "friction": (0.0, 0.3)}, _magnet),
        _law("one_way", "spring", {"friction": (0.1, 1.5)}, _one_way),
        _law("relay", "spring", {"height": (0.05, 0.6), "ahead": (0.0, 0.3)}, _relay),
        _law("kicks", "pendulum", {"*when": (0.2, 2.2), "*height": (-6, 6)}, _kicks),
        _law(
            "rough",
            "pendulum",
            {"amplitude": (0, 2.0), "*shares": (-1, 1), "*phases": (0, 1)},
            _rough,
        ),
        _law("bearing", "pendulum", {"dry": (0.02, 0.2)}, _bearing),
        _law("linearized", "spring", {"friction": (0.0, 0.3)}, _linearized),
        _law(
            "run_up",
            "oscillator",
            {
                "amplitude": (0.05, 0.4),
                "growth": (0.05, 0.25),
                "frequency": (2.0, 6.0),
                "phase": (0, 6.28),
            },
            _run_up,
        ),
        _migration(),
    )
}

MOTIONS: Mapping[str, Law] = LAWS | FRESH
"""All laws of motion by name."""
