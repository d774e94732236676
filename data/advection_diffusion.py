"""Simulated advection-diffusion on a line: the data, with a flow that the model does not know.

``y_t = diffusion * y_ss + speed * y_s`` on 20 points, zero beyond the ends, from a half sine.
The grid is part of the equations, so the simulation, by matrix exponentials, is exact to
rounding. Source: Takeishi & Kalousis (2021), section 4.2; ranges as in their public data.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm

from groundvae.data.dataset import Dataset
from groundvae.data.measurement import measure_field
from groundvae.data.source import Source
from groundvae.physics.advection_diffusion import generator

RANGES = {
    "diffusion": (0.01, 0.1),  # m^2/s
    "speed": (0.01, 0.1),  # m/s
    "magnitude": (0.5, 1.5),  # of the initial profile, no unit
}
NOISE = 0.001
POINTS, SPACING = 20, 0.1  # of the line; m
PLACES = SPACING * np.arange(POINTS)  # m
TIMES = 0.02 * np.arange(50)  # s


def simulate(n: int, seed: int, *, times: np.ndarray = TIMES, noise: float = NOISE) -> Dataset:
    """Simulate ``n`` fields (time, space), true latents drawn uniformly from ``RANGES``.

    >>> simulate(3, seed=1).x.shape
    (3, 50, 20)
    """
    rng = np.random.default_rng(seed)
    truth = {name: rng.uniform(*bounds, n) for name, bounds in RANGES.items()}
    x = solve(truth, times) + noise * rng.standard_normal((n, len(times), POINTS))
    return Dataset(x.astype(np.float32), {"t": times, "s": PLACES}, truth)


def solve(truth: dict[str, np.ndarray], times: np.ndarray) -> np.ndarray:
    """Noiseless fields (observation, time, space) at ``times`` (s), the first not before 0."""
    law = generator(truth["diffusion"], truth["speed"], points=POINTS, spacing=SPACING)
    state = truth["magnitude"][:, None] * np.sin(np.pi * np.arange(POINTS) / (POINTS - 1))
    gaps = np.diff(times, prepend=0.0).round(12)
    steps = {gap: expm(gap * law) for gap in np.unique(gaps)}
    states = []
    for gap in gaps:
        state = np.einsum("nij,nj->ni", steps[gap], state)
        states.append(state)
    return np.stack(states, axis=1)


SOURCE = Source(simulate, tuple(RANGES), measure=measure_field)
