"""Scores of posterior draws against a known truth, on the line and on the circle."""

from __future__ import annotations

import numpy as np

from groundvae.models.circle import difference, mean_direction


def crps(draws: np.ndarray, truth: np.ndarray, period: float | None = None) -> np.ndarray:
    """Continuous ranked probability score, (observation,), in the latent's unit.

    ``E|z - truth| - 1/2 E|z - z'|`` over draws (draw, observation); 0 is best, and a point
    estimate scores its absolute error. Source: Gneiting & Raftery (2007), eq. 21; on a circle
    (``period``) with the distance along it: Grimit et al. (2006).

    >>> crps(np.array([[1.0], [3.0]]), np.array([2.0]))
    array([0.5])
    >>> crps(np.array([[0.1], [3.1]]), np.array([0.0]), period=3.0).round(3)
    array([0.1])
    """
    if period is not None:
        return _circular_crps(draws, truth, period)
    n = len(draws)
    ordered = np.sort(draws, axis=0)
    weights = 2 * np.arange(1, n + 1) - n - 1
    spread = np.tensordot(weights, ordered, axes=(0, 0)) / n**2
    return np.asarray(np.abs(draws - truth).mean(axis=0) - spread)


def _circular_crps(draws: np.ndarray, truth: np.ndarray, period: float) -> np.ndarray:
    spread = np.zeros(draws.shape[1:])
    for shift in range(1, len(draws)):
        apart = difference(draws, np.roll(draws, shift, axis=0), period)
        spread += np.abs(apart).mean(axis=0)
    error = np.abs(difference(draws, truth, period)).mean(axis=0)
    return np.asarray(error - 0.5 * spread / len(draws))


def unwrap(
    draws: np.ndarray, truth: np.ndarray, period: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Draws (draw, observation) and truth cut open opposite to the draws' mean direction.

    On that line ranks, intervals and moments mean what they mean for any other latent. Without
    a period both come back as they are.

    >>> draws, truth = unwrap(np.array([[0.1], [2.9]]), np.array([2.95]), 3.0)
    >>> bool(np.ptp(draws) < 0.21 and abs(truth[0] - draws.mean()) < 0.06)
    True
    """
    if period is None:
        return draws, truth
    centre = mean_direction(draws, period)
    return centre + difference(draws, centre, period), centre + difference(truth, centre, period)


def interval(draws: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the central interval that holds ``level`` of the draws (draw, ...)."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def coverage(draws: np.ndarray, truth: np.ndarray, level: float) -> float:
    """Share of true values inside their central interval; ``level`` if calibrated.

    >>> coverage(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0.5, 2.0]), 0.9)
    0.5
    """
    low, high = interval(draws, level)
    return float(((low <= truth) & (truth <= high)).mean())


def placement(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of the draws (draw, ...) below the truth (...): uniform on (0, 1) if calibrated.

    The rank of the truth among the draws, over their number and one; ties count half.

    >>> placement(np.array([[0.0], [1.0], [2.0]]), np.array([1.5]))
    array([0.625])
    """
    below = (draws < truth).sum(axis=0) + 0.5 * (draws == truth).sum(axis=0)
    return np.asarray((below + 0.5) / (len(draws) + 1))


def explained(residual: np.ndarray, x: np.ndarray) -> float:
    """Share of the squared deviation of ``x`` from its mean that is not in ``residual``.

    >>> explained(np.array([0.0, 0.0]), np.array([1.0, 3.0]))
    1.0
    """
    total = np.nansum((x - np.nanmean(x)) ** 2)
    return float(1 - np.nansum(residual**2) / total) if total > 0 else float("nan")


def contraction(draws: np.ndarray, prior_variance: float) -> np.ndarray:
    """``1 - posterior variance / prior variance``, (observation,), of draws (draw, observation).

    Near 1 the data decide, near 0 the prior does; NaN where the prior has no width.

    >>> contraction(np.array([[0.0], [2.0]]), 4.0)
    array([0.75])
    """
    return np.asarray(1 - draws.var(axis=0) / (prior_variance if prior_variance > 0 else np.nan))
