"""The oracle: how well the physics could be known, were the form of what is hidden told.

Laplace's approximation at the truth, in the exact simulator: hidden numbers of the law are latents
beside the physics, with the true means and variances of both as priors and the true noise. A
posterior as sharp as this one, and calibrated, has an expected CRPS of ``sd / sqrt(pi)`` and an
error of ``sd sqrt(2 / pi)``. No fit reaches that which is not told the law.

>>> from laws import LAWS
>>> sorted(told(LAWS["spring_drag"], 4, 0))
['omega_crps', 'omega_mae', 'start_crps', 'start_mae']
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from laws import Law
from laws_fields import KNOWN, NOISE, TIMES, FieldLaw

Array = np.ndarray
STEP = 1e-4  # of a latent's spread, for central differences
MANY = 20_000  # draws that its spread is taken from


def told(law: Law | FieldLaw, n: int, seed: int) -> dict[str, float]:
    """``NAME_crps`` and ``NAME_mae`` of every physics latent, mean over ``n`` observations."""
    rng = np.random.default_rng(seed)
    latents = law.draw(rng, n)
    solve, noise, names = _solver(law)
    columns, owners = _columns(law.draw(rng, MANY))
    rows = np.stack([_moved(solve, latents, name, i, sd) for name, i, sd in columns], -1) / noise
    precision = rows.swapaxes(1, 2) @ rows + np.eye(len(columns))  # in units of the spreads
    variance = np.diagonal(np.linalg.inv(precision), axis1=1, axis2=2)
    found = {}
    for name in names:
        place = owners.index(name)
        sd = float((np.sqrt(variance[:, place]) * columns[place][2]).mean())
        found |= {
            f"{name}_crps": sd / math.sqrt(math.pi),
            f"{name}_mae": sd * math.sqrt(2 / math.pi),
        }
    return found


def _solver(
    law: Law | FieldLaw,
) -> tuple[Callable[[Mapping[str, Array]], Array], float, tuple[str, ...]]:
    """Noiseless observations, the noise, and names of the physics latents."""
    if isinstance(law, FieldLaw):
        return lambda z: law.solve(dict(z), TIMES), NOISE, tuple(KNOWN)
    return lambda z: law.path(z, law.times), law.noise, law.latents


def _columns(drawn: Mapping[str, Array]) -> tuple[list[tuple[str, int, float]], list[str]]:
    """Every number that varies: name, place in it, spread; and the names alone."""
    columns = [
        (name, i, float(values.reshape(len(values), -1)[:, i].std()))
        for name, values in drawn.items()
        for i in range(values.reshape(len(values), -1).shape[1])
    ]
    columns = [each for each in columns if each[2] > 0]
    return columns, [name for name, _, _ in columns]


def _moved(
    solve: Callable[[Mapping[str, Array]], Array],
    latents: Mapping[str, Array],
    name: str,
    place: int,
    sd: float,
) -> Array:
    """How observations (n, value) move with one number, per its spread."""
    ends = []
    for sign in (1.0, -1.0):
        values = np.array(latents[name])
        values.reshape(len(values), -1)[:, place] += sign * STEP * sd
        ends.append(solve({**latents, name: values}))
    return np.asarray((ends[0] - ends[1]).reshape(len(ends[0]), -1) / (2 * STEP))
