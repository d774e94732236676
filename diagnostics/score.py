"""Scores of posterior draws against a known truth."""

from __future__ import annotations

import numpy as np


def crps(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score, (observation,), in the latent's unit.

    ``E|z - truth| - 1/2 E|z - z'|`` over draws (draw, observation); 0 is best, and a point
    estimate scores its absolute error. Source: Gneiting & Raftery (2007), eq. 21.

    >>> crps(np.array([[1.0], [3.0]]), np.array([2.0]))
    array([0.5])
    """
    n = len(draws)
    ordered = np.sort(draws, axis=0)
    weights = 2 * np.arange(1, n + 1) - n - 1
    spread = np.tensordot(weights, ordered, axes=(0, 0)) / n**2
    return np.asarray(np.abs(draws - truth).mean(axis=0) - spread)


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
