"""Hidden laws of fields: diffusion is known, something else acts that a model is not told.

Every law is ``y_t = diffusion * y_ss + unknown`` on 20 points 0.1 m apart, zero beyond the ends,
from ``magnitude`` times a half sine, with differences by the three-point central stencils: the
grid is part of the equations, so nothing but the unknown is missing. Diffusion (m^2/s), speed
(m/s), magnitude and noise (no unit) have the ranges of ``data/advection_diffusion.py``, after
Takeishi & Kalousis (2021, arXiv 2102.13156, section 4.2), whose law is ``advection``; the other
laws are this project's own. Linear laws without a source are solved by matrix exponentials,
exact to rounding, the others by an adaptive Runge-Kutta method of order 8, relative error 1e-8.

>>> sorted(LAWS)[:3]
['advection', 'bistable', 'burgers']
>>> LAWS["source"].simulate(3, seed=1)["x"].shape
(3, 50, 20)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm

Array = np.ndarray
Draws = dict[str, Array]

POINTS, SPACING = 20, 0.1  # of the line; m
PLACES = SPACING * np.arange(POINTS)  # m
TIMES = 0.02 * np.arange(50)  # s
LATER = 0.02 * np.arange(200)  # s: the window and three more of its length
NOISE = 0.001  # standard deviation, no unit
TOGETHER = 20  # fields under one error control
KNOWN = {"diffusion": (0.01, 0.1), "magnitude": (0.5, 1.5)}  # m^2/s; no unit

RIGHT, LEFT = np.eye(POINTS, k=1), np.eye(POINTS, k=-1)
SECOND = (RIGHT - 2 * np.eye(POINTS) + LEFT) / SPACING**2  # y_ss, 1/m^2
FIRST = (RIGHT - LEFT) / (2 * SPACING)  # y_s, 1/m


@dataclass(frozen=True)
class FieldLaw:
    """A law: ``name``, ``ranges`` of what it draws besides diffusion and magnitude, ``unknown``."""

    name: str
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    def draw(self, rng: np.random.Generator, n: int) -> Draws:
        """The truth of ``n`` fields, each (n,), uniform in its range."""
        return {k: rng.uniform(*v, n) for k, v in (KNOWN | self.ranges).items()}

    def unknown(self, t: float, y: Array, truth: Draws) -> Array:
        """What is missing, 1/s, (n, space), of the field ``y`` (n, space) at ``t`` s."""
        raise NotImplementedError

    def solve(self, truth: Draws, times: Array = LATER) -> Array:
        """Noiseless fields (n, time, space) at ``times`` (s, from 0 on), relative error 1e-8."""
        n = len(truth["diffusion"])
        parts = [
            self._solve({k: v[i : i + TOGETHER] for k, v in truth.items()}, times)
            for i in range(0, n, TOGETHER)
        ]
        return np.concatenate(parts)

    def _solve(self, truth: Draws, times: Array) -> Array:
        def rate(t: float, flat: Array) -> Array:
            y = flat.reshape(-1, POINTS)
            out = truth["diffusion"][:, None] * (y @ SECOND.T) + self.unknown(t, y, truth)
            return np.asarray(out.ravel())

        start, end = initial(truth).ravel(), (0.0, float(times[-1]))
        done = solve_ivp(rate, end, start, "DOP853", times, rtol=1e-8, atol=1e-10, max_step=0.04)
        if not done.success:
            raise ArithmeticError(f"{self.name}: {done.message}")
        return np.asarray(done.y.T.reshape(len(times), -1, POINTS).swapaxes(0, 1))

    def simulate(self, n: int, seed: int) -> Draws:
        """``n`` fields: ``x`` (n, 50, 20) with noise, ``t`` (50,) and ``s`` (20,), the truth each
        (n,), and the noiseless truth ``later`` (n, 200, 20) at ``later_t`` (200,), four windows.
        """
        rng = np.random.default_rng(seed)
        truth = self.draw(rng, n)
        later = self.solve(truth)
        x = later[:, : len(TIMES)] + NOISE * rng.standard_normal((n, len(TIMES), POINTS))
        grid = {"t": TIMES, "s": PLACES, "later_t": LATER}
        return {"x": x, **grid, "later": later, **truth}


def initial(truth: Draws) -> Array:
    """``magnitude * sin(pi s / s_max)``, (n, space)."""
    return np.asarray(truth["magnitude"][:, None] * np.sin(np.pi * PLACES / PLACES[-1]))


def bump(place: Array, width: Array) -> Array:
    """``exp(-((s - place) / width)^2 / 2)``, (n, space), of place and width (n,), m."""
    return np.asarray(np.exp(-0.5 * ((PLACES - place[:, None]) / width[:, None]) ** 2))


@dataclass(frozen=True)
class Linear(FieldLaw):
    """A law ``y_t = G y``, G constant in time: solved by matrix exponentials."""

    def matrix(self, truth: Draws) -> Array:
        """What is missing as a matrix (n, space, space), 1/s."""
        raise NotImplementedError

    def unknown(self, t: float, y: Array, truth: Draws) -> Array:
        """What is missing, 1/s, (n, space)."""
        return np.asarray(np.einsum("nij,nj->ni", self.matrix(truth), y))

    def _solve(self, truth: Draws, times: Array) -> Array:
        law = truth["diffusion"][:, None, None] * SECOND + self.matrix(truth)
        gaps = np.diff(times, prepend=0.0).round(12)
        steps = {gap: expm(gap * law) for gap in np.unique(gaps)}
        state, states = initial(truth), []
        for gap in gaps:
            state = np.einsum("nij,nj->ni", steps[gap], state)
            states.append(state)
        return np.stack(states, axis=1)


@dataclass(frozen=True)
class Advection(Linear):
    """``speed * y_s`` (m/s): the method's own law."""

    def matrix(self, truth: Draws) -> Array:
        """What is missing as a matrix (n, space, space), 1/s."""
        return np.asarray(truth["speed"][:, None, None] * FIRST)


@dataclass(frozen=True)
class AdvectionDecay(Linear):
    """``speed * y_s - decay * y`` (m/s, 1/s)."""

    def matrix(self, truth: Draws) -> Array:
        """What is missing as a matrix (n, space, space), 1/s."""
        flow = truth["speed"][:, None, None] * FIRST
        return np.asarray(flow - truth["decay"][:, None, None] * np.eye(POINTS))


@dataclass(frozen=True)
class PlacedFlow(Linear):
    """``speed * (1 + share * sin(2 pi s / 2 m + phase)) * y_s``: the flow differs by place."""

    def matrix(self, truth: Draws) -> Array:
        """What is missing as a matrix (n, space, space), 1/s."""
        wave = np.sin(np.pi * PLACES + truth["phase"][:, None])
        speed = truth["speed"][:, None] * (1 + truth["share"][:, None] * wave)
        return np.asarray(speed[:, :, None] * FIRST)


@dataclass(frozen=True)
class PulsedFlow(FieldLaw):
    """``speed * (1 + sin(2 pi frequency t + phase)) * y_s``: the flow differs by time (Hz)."""

    def unknown(self, t: float, y: Array, truth: Draws) -> Array:
        """What is missing, 1/s, (n, space)."""
        wave = 1 + np.sin(2 * np.pi * truth["frequency"] * t + truth["phase"])
        return np.asarray((truth["speed"] * wave)[:, None] * (y @ FIRST.T))


@dataclass(frozen=True)
class Burgers(FieldLaw):
    """``-steepening * y * y_s`` (m/s): the field carries itself."""

    def unknown(self, t: float, y: Array, truth: Draws) -> Array:
        """What is missing, 1/s, (n, space)."""
        return np.asarray(-truth["steepening"][:, None] * y * (y @ FIRST.T))


@dataclass(frozen=True)
class Logistic(FieldLaw):
    """``growth * y * (1 - y / capacity)`` (1/s, no unit): Fisher's equation."""

    def unknown(self, t: float, y: Array, truth: Draws) -> Array:
        """What is missing, 1/s, (n, space)."""
        return np.asarray(truth["growth"][:, None] * y * (1 - y / truth["capacity"][:, None]))


@dataclass(frozen=True)
class Bistable(FieldLaw):
    """``growth * y * (1 - y) * (y - threshold)`` (1/s, no unit): Nagumo's equation."""

    def unknown(self, t: float, y: Array, truth: Draws) -> Array:
        """What is missing, 1/s, (n, space)."""
        growth, threshold = truth["growth"][:, None], truth["threshold"][:, None]
        return np.asarray(growth * y * (1 - y) * (y - threshold))


@dataclass(frozen=True)
class Source(FieldLaw):
    """``strength * bump(place, width) * exp(-((t - when) / duration)^2 / 2)`` (1/s, m, s).

    ``share_without`` of the fields have none.
    """

    share_without: float = 0.0

    def draw(self, rng: np.random.Generator, n: int) -> Draws:
        """The truth of ``n`` fields, each (n,)."""
        truth = super().draw(rng, n)
        truth["strength"] = np.where(
            rng.uniform(size=n) < self.share_without, 0.0, truth["strength"]
        )
        return truth

    def unknown(self, t: float, y: Array, truth: Draws) -> Array:
        """What is missing, 1/s, (n, space)."""
        pulse = np.exp(-0.5 * ((t - truth["when"]) / truth["duration"]) ** 2)
        return (truth["strength"] * pulse)[:, None] * bump(truth["place"], truth["width"])


@dataclass(frozen=True)
class MovingSource(FieldLaw):
    """``strength * bump(place + velocity * t, width)`` (1/s, m, m/s)."""

    SIGNED: ClassVar[str] = "velocity"

    def draw(self, rng: np.random.Generator, n: int) -> Draws:
        """The truth of ``n`` fields, each (n,); half of them mirrored."""
        truth = super().draw(rng, n)
        mirrored = rng.uniform(size=n) < 0.5
        truth["place"] = np.where(mirrored, PLACES[-1] - truth["place"], truth["place"])
        truth[self.SIGNED] = np.where(mirrored, -1, 1) * truth[self.SIGNED]
        return truth

    def unknown(self, t: float, y: Array, truth: Draws) -> Array:
        """What is missing, 1/s, (n, space)."""
        here = truth["place"] + truth["velocity"] * t
        return truth["strength"][:, None] * bump(here, truth["width"])


SPEED = {"speed": (0.01, 0.1)}  # m/s
PULSE = {
    "place": (0.3, 1.6),  # m
    "when": (0.2, 0.8),  # s
    "width": (0.15, 0.35),  # m
    "duration": (0.08, 0.2),  # s
    "strength": (0.5, 2.0),  # 1/s
}
MOVING = {
    "place": (0.3, 0.8),  # m, at t = 0
    "velocity": (0.3, 1.0),  # m/s
    "width": (0.15, 0.3),  # m
    "strength": (0.3, 1.0),  # 1/s
}
PHASE = {"phase": (0.0, 2 * np.pi)}

LAWS: dict[str, FieldLaw] = {
    law.name: law
    for law in (
        Advection("advection", SPEED),
        AdvectionDecay("decay", SPEED | {"decay": (0.2, 1.0)}),
        Burgers("burgers", {"steepening": (0.02, 0.3)}),
        Source("source", PULSE),
        Source("source_sometimes", PULSE, share_without=0.5),
        MovingSource("moving", MOVING),
        Logistic("logistic", {"growth": (0.2, 1.0), "capacity": (0.8, 1.5)}),
        Bistable("bistable", {"growth": (0.5, 2.0), "threshold": (0.1, 0.5)}),
        PlacedFlow("placed_flow", SPEED | PHASE | {"share": (0.3, 0.9)}),
        PulsedFlow("pulsed_flow", SPEED | PHASE | {"frequency": (0.3, 1.0)}),
    )
}
