"""Stacking: known weights, mixtures of known parts, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from groundvae.data.errors import InputError
from groundvae.inference import arviz as az
from groundvae.inference.inferencedata import assembled
from groundvae.inference.stacking import stack, stacking_weights


def drawn(
    place: float,
    draws: int = 400,
    system: str = "pendulum",
    evidence: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> az.InferenceData:
    rng = np.random.default_rng(0)
    each = ("chain", "draw", "observation")
    posterior = {
        "omega": (each, place + 0.01 * rng.normal(size=(1, draws, 3))),
        "z_aux": ((*each, "number"), rng.normal(size=(1, draws, 3, 2))),
    }
    groups = {
        "posterior": posterior,
        "posterior_predictive": {"x": ((*each, "time"), np.full((1, draws // 2, 3, 5), place))},
        "observed_data": {"x": (("observation", "time"), np.zeros((3, 5)))},
        "constant_data": {"log_evidence": ("observation", np.array(evidence))},
    }
    datasets = {name: indexed(xr.Dataset(variables)) for name, variables in groups.items()}
    return assembled(datasets, {"system": system})


def indexed(group: xr.Dataset) -> xr.Dataset:
    return group.assign_coords({str(dim): np.arange(size) for dim, size in group.sizes.items()})


def test_a_mixture_of_known_parts_gets_their_shares() -> None:
    rng = np.random.default_rng(0)
    held_out = np.where(rng.random(20_000) < 0.3, -2.0, 2.0) + rng.normal(size=20_000)
    density = np.stack([norm.logpdf(held_out, place) for place in (-2.0, 2.0)], 1)
    np.testing.assert_allclose(stacking_weights(density), [0.3, 0.7], atol=0.01)


def test_the_best_of_equals_takes_all_and_equals_share() -> None:
    better = np.stack([np.zeros(50), -np.ones(50)], 1)
    assert stacking_weights(better)[0] > 0.99
    np.testing.assert_allclose(stacking_weights(np.zeros((50, 4))), 0.25)


@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), min_size=1, max_size=9))
def test_weights_are_shares_and_no_worse_than_equal_ones(rows: list[list[float]]) -> None:
    density = np.array(rows)
    weights = stacking_weights(density)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0)

    def score(shares: np.ndarray) -> float:
        with np.errstate(divide="ignore"):
            return float(np.logaddexp.reduce(density + np.log(shares), axis=1).mean())

    assert score(weights) >= score(np.full(3, 1 / 3)) - 1e-6


def test_draws_come_from_the_runs_by_weight_and_stay_with_their_predictions() -> None:
    mixed = stack([drawn(0.0), drawn(1.0)], np.array([0.25, 0.75]))
    omega = mixed["posterior"]["omega"].values[0]
    assert omega.shape == (400, 3)
    assert np.mean(omega > 0.5) == pytest.approx(0.75, abs=0.06)
    predicted = mixed["posterior_predictive"]["x"].values[0, :, :, 0]
    np.testing.assert_array_equal(predicted > 0.5, omega[:200] > 0.5)
    assert "z_aux" not in mixed["posterior"]
    np.testing.assert_array_equal(mixed["stacking"]["run_of_draw"] == 1, omega > 0.5)


def test_each_observation_is_mixed_by_its_own_evidence() -> None:
    """Of weights 1 to 3 and evidence ln 9 better, nothing, and none at all."""
    mixed = stack(
        [drawn(0.0, 4000, evidence=(np.log(9.0), 0.0, -1e4)), drawn(1.0, 4000)],
        np.array([0.25, 0.75]),
    )
    share = [0.75, 0.25, 0.0]
    np.testing.assert_allclose(mixed["stacking"]["share"].sel(run=0), share, atol=1e-12)
    omega = mixed["posterior"]["omega"].values[0]
    np.testing.assert_allclose((omega < 0.5).mean(0), share, atol=0.03)


def test_other_systems_data_or_draws_are_refused() -> None:
    half = np.array([0.5, 0.5])
    with pytest.raises(InputError, match="one system"):
        stack([drawn(0.0), drawn(0.0, system="gait")], half)
    with pytest.raises(InputError, match="the same"):
        stack([drawn(0.0), drawn(0.0, draws=100)], half)
