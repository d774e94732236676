"""Simulated forced damped pendulums: the data, with more physics than the model knows.

``th'' = A w^2 cos(2 pi f t) - gamma th' - w^2 sin(th)``, released at rest, observed with
noise. Source: Takeishi & Kalousis (2021), section 4.1; ranges as in their public data.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from groundvae.data.dataset import Dataset
from groundvae.data.measurement import measure_pendulum
from groundvae.data.source import Source
from groundvae.physics.pendulum import forced_damped_acceleration

RANGES = {
    "omega": (0.785, 3.14),  # rad/s
    "gamma": (0.0, 0.8),  # 1/s
    "amplitude": (0.0, 40.0),  # force over gravity, no unit
    "frequency": (3.14, 6.28),  # Hz
    "theta0": (-1.57, 1.57),  # rad
}
NOISE = 0.01  # rad
TIMES = 0.05 * np.arange(50)  # s
TOGETHER = 50  # series solved as one system: many times faster than one by one


def simulate(n: int, seed: int, *, times: np.ndarray = TIMES, noise: float = NOISE) -> Dataset:
    """Simulate ``n`` series with true latents drawn uniformly from ``RANGES``.

    >>> simulate(3, seed=1).x.shape
    (3, 50)
    """
    rng = np.random.default_rng(seed)
    truth = {name: rng.uniform(*bounds, n) for name, bounds in RANGES.items()}
    x = solve(truth, times) + noise * rng.standard_normal((n, len(times)))
    return Dataset(x.astype(np.float32), {"t": times}, truth)


def solve(truth: dict[str, np.ndarray], times: np.ndarray) -> np.ndarray:
    """Noiseless angles, rad, (observation, time), by DOP853 at tolerances of 1e-10."""
    n = len(truth["omega"])
    chunks = [slice(i, min(i + TOGETHER, n)) for i in range(0, n, TOGETHER)]
    return np.concatenate([_solve_together(_rows(truth, c), times) for c in chunks])


def _rows(truth: dict[str, np.ndarray], rows: slice) -> dict[str, np.ndarray]:
    return {name: value[rows] for name, value in truth.items()}


def _solve_together(truth: dict[str, np.ndarray], times: np.ndarray) -> np.ndarray:
    parameters = {name: value for name, value in truth.items() if name != "theta0"}
    theta0 = truth["theta0"]

    def field(time: float, state: np.ndarray) -> np.ndarray:
        theta, velocity = np.split(state, 2)
        return np.concatenate(
            [velocity, forced_damped_acceleration(time, theta, velocity, **parameters)]
        )

    start = np.concatenate([theta0, np.zeros_like(theta0)])
    solution = solve_ivp(
        field,
        (0.0, times[-1]),
        start,
        method="DOP853",
        t_eval=times,
        rtol=1e-10,
        atol=1e-10,
    )
    return np.asarray(solution.y[: len(theta0)])


SOURCE = Source(simulate, tuple(RANGES), measure=measure_pendulum)
