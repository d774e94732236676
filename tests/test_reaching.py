"""Beyond the data an unknown push is not known: it does not repeat what it was within."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import groundvae as gv
from groundvae.data.batch import Batch
from groundvae.data.pendulum import simulate
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.reaching import reaching
from groundvae.models.recipe import EVIDENCE, FitOptions
from groundvae.models.residuals import Unknown
from groundvae.models.systems.pendulum import Pendulum

TIMES = torch.linspace(0.0, 2.45, 50, dtype=torch.float64)


@pytest.fixture
def residual() -> Unknown:
    """A push whose power falls with frequency."""
    found = Unknown("velocity")
    gv.GreyBox(Pendulum(), found)
    found.prepare(Batch(torch.zeros(1, 50, dtype=torch.float64), {"t": TIMES}))
    found.double()
    found.log_power.data.copy_(torch.linspace(0.0, -20.0, found.log_power.shape[-1]))
    found.log_constant.data.fill_(-2.0)
    return found


def covariance(residual: Unknown, times: Tensor) -> Tensor:
    """Of the push (time, time), under the population."""
    features = residual.of_time(times)
    return (features * residual.variance[0, : residual.timed]) @ features.T


def test_a_push_repeats_after_its_window_and_not_when_it_reaches_further(
    residual: Unknown,
) -> None:
    assert residual.span is not None
    times = torch.tensor([0.7, 0.7 + residual.span], dtype=torch.float64)
    within = covariance(residual, times)
    torch.testing.assert_close(within[0, 1], within[0, 0])
    residual.reach(10.0)
    beyond = covariance(residual, times)
    assert beyond[0, 1].abs() < 0.3 * beyond[0, 0]
    torch.testing.assert_close(beyond[0, 0], within[0, 0], rtol=0.3, atol=0.0)


def test_within_the_data_it_is_the_same_push(residual: Unknown) -> None:
    near = torch.tensor([1.0, 1.1], dtype=torch.float64)
    before = covariance(residual, near)
    residual.reach(2.45)
    torch.testing.assert_close(covariance(residual, near), before)
    residual.reach(10.0)
    after = covariance(residual, near)
    rate = [2 * (c[0, 0] - c[0, 1]) for c in (before, after)]  # mean square of the change
    torch.testing.assert_close(rate[1], rate[0], rtol=0.15, atol=0.0)


@pytest.mark.slow
def test_predictions_to_four_times_the_window() -> None:
    data = simulate(30, 1)
    recipe = replace(EVIDENCE, options=FitOptions(steps=12))
    model = gv.GreyBox(Pendulum(), gv.Unknown("velocity", frequencies=6), gv.Gaussian())
    run = gv.fit(
        model,
        data.subset(np.arange(20)),
        valid=data.subset(np.arange(20, 30)),
        recipe=recipe,
        seed=0,
    )
    further = reaching(run, 10.0)
    assert further.model.auxiliary > run.model.auxiliary
    assert reaching(run, 2.0) is run
    asked = PosteriorOptions(draws=40, predictive_draws=40)
    drawn = posterior(run, data.subset(np.arange(5)), asked, until=10.0)
    spread = drawn["posterior_predictive"]["x"].std(("chain", "draw")).values
    assert spread.shape == (5, 201)
    assert np.median(spread[:, 100:]) > 1.05 * np.median(spread[:, :50])
