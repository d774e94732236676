"""The check of what the noise leaves: exact correlations, and what they are worth."""

from __future__ import annotations

import numpy as np
import pytest

from groundvae.diagnostics.whiteness import Whiteness, advised, compute_whiteness, white_floor


def smooth(n: int, length: int, root: float, seed: int = 0) -> np.ndarray:
    """Stationary series (n, length) whose neighbours correlate by ``root``."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, length))
    for t in range(1, length):
        x[:, t] = root * x[:, t - 1] + np.sqrt(1 - root**2) * x[:, t]
    return x


def test_white_residuals_are_good_and_worth_their_number() -> None:
    result = compute_whiteness(smooth(100, 200, 0.0), ("time",), ("time",))
    assert result.attrs["worth"] == pytest.approx(1.0)
    assert Whiteness().judge(result).level == "good"
    np.testing.assert_allclose(result["power"], 1.0, atol=0.2)


def test_smooth_residuals_refute_white_noise() -> None:
    """Of a Markov series, samples are worth (1 - r) / (1 + r) of their number."""
    result = compute_whiteness(smooth(200, 400, 0.5), ("time",), ("time",))
    np.testing.assert_allclose(result["autocorrelation"][0, :4], 0.5 ** np.arange(4), atol=0.02)
    assert result.attrs["worth"] == pytest.approx(1 / 3, rel=0.15)
    told = result.assign_attrs(advice=advised(("time",), ("time",), 1), dependent=False)
    verdict = Whiteness().judge(told)
    assert verdict.level == "bad"
    assert "White noise is refuted" in verdict.meaning
    assert "gv.Matern(None)" in verdict.meaning
    known = Whiteness().judge(told.assign_attrs(dependent=True))
    assert "shape does not fit" in known.meaning


def test_bands_that_vary_together_are_seen_and_gaps_are_left_out() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(size=(30, 20, 20, 1))
    x = np.sqrt(0.8) * common + np.sqrt(0.2) * rng.normal(size=(30, 20, 20, 3))
    x[:, 3:5] = np.nan
    result = compute_whiteness(x, ("row", "column", "band"), ("row", "column"))
    assert float(result["between"][0, 1]) == pytest.approx(0.8, abs=0.02)
    assert result.attrs["worth"] == pytest.approx(1 / 2.6, rel=0.05)
    assert advised(("row", "column", "band"), ("row", "column"), 3) == "gv.Correlated(3)"


def test_the_floor_of_white_noise_ignores_what_is_smooth() -> None:
    t = np.linspace(0, 2 * np.pi, 300)
    x = 5 * np.sin(t) + np.random.default_rng(0).normal(0, 0.1, (40, 300))
    assert white_floor(x, 1) == pytest.approx(0.1, rel=0.03)
