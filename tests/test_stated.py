"""Errors that were stated sample by sample, and values of which only a limit is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

import groundvae as gv
from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.inference.fit import prepare
from groundvae.inference.observed import observations_of
from groundvae.inference.posterior import PosteriorOptions
from groundvae.models.noises.perchannel import PerChannel
from groundvae.models.noises.stated import Stated

TIMES = np.linspace(0.0, 3.0, 16)
FLOOR = 0.25


class Decay(gv.Dynamics):
    """What decays."""

    rate_constant = gv.Latent(gv.LogNormal(-0.5, 0.5), unit="1/s")
    start = gv.Latent(gv.LogNormal(0.0, 0.3), unit="1")
    states = ("amount",)
    observed = "amount"

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {"amount": z.start}

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        return {"amount": -z.rate_constant * state.amount}


def decays(n: int, seed: int, *, censored: bool) -> gv.Dataset:
    """Half of the samples are measured ten times worse; of what is below a floor, that alone."""
    random = np.random.default_rng(seed)
    truth = {"rate_constant": random.lognormal(-0.5, 0.5, n), "start": random.lognormal(0, 0.3, n)}
    error = np.where(random.random((n, len(TIMES))) < 0.5, 0.02, 0.2)
    x = truth["start"][:, None] * np.exp(-truth["rate_constant"][:, None] * TIMES)
    x = x + error * random.standard_normal(x.shape)
    side = np.where(x < FLOOR, -1.0, 0.0) if censored else None
    if side is not None:
        x = np.maximum(x, FLOOR)
    return gv.Dataset(x.astype(np.float32), {"t": TIMES}, truth, error=error, censored=side)


def grey() -> gv.GreyBox:
    return gv.GreyBox(Decay(), gv.Unknown("amount", sees=(), frequencies=3), gv.Gaussian())


def exact(data: gv.Dataset, row: int, rate: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Log density (grid,) of one observation under the true law and its stated errors."""
    mean = start[:, None] * np.exp(-rate[:, None] * TIMES)
    assert data.error is not None
    off = (data.x[row] - mean) / data.error[row]
    seen = norm.logpdf(off) - np.log(data.error[row])
    if data.censored is None:
        return np.asarray(seen.sum(1))
    return np.asarray(np.where(data.censored[row] == 0, seen, norm.logcdf(off)).sum(1))


@pytest.mark.parametrize("censored", [False, True])
def test_the_likelihood_is_that_of_the_textbook(censored: bool) -> None:
    data = decays(6, 0, censored=censored)
    noise = gv.Gaussian(1e-6).given(Batch.of(data, dtype=torch.float64))
    rate, start = np.full(1, 0.6), np.full(1, 1.1)
    mean = torch.as_tensor(start * np.exp(-rate * TIMES)).expand(6, -1)
    found = noise.log_prob(torch.as_tensor(data.x.astype(float)), mean)
    expected = [exact(data, row, rate, start)[0] for row in range(6)]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-6)


def test_its_slope_and_information_are_its_derivatives() -> None:
    data = decays(4, 1, censored=True)
    noise = gv.Gaussian(0.05).given(Batch.of(data, dtype=torch.float64))
    x = torch.as_tensor(data.x.astype(float))
    mean = (0.5 * torch.ones_like(x)).requires_grad_()
    near = noise.linearize(x, mean.detach())
    (slope,) = torch.autograd.grad(noise.log_prob(x, mean).sum(), mean, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), mean)
    root = near.whiten(torch.ones(*x.shape, 1).double()).squeeze(-1)
    torch.testing.assert_close(root * near.residual, slope.detach(), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(root**2, -bend, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("channels", [0, 2])
def test_what_is_left_beside_stated_errors_is_learned(channels: int) -> None:
    random = np.random.default_rng(0)
    shape = (40, 50, channels) if channels else (40, 50)
    error = random.uniform(0.01, 0.3, shape)
    own = np.array([0.1, 0.2]) if channels else np.array(0.1)
    off = np.hypot(error, own) * random.standard_normal(shape)
    noise = PerChannel(2) if channels else gv.Gaussian()
    batch = Batch.of(gv.Dataset(off, {"t": np.arange(50.0)}, error=error))
    usual = torch.arange(40) > 3
    samples = torch.full((40,), float(off[0].size))
    noise.given(batch).refit(batch.x, samples, None, usual)
    np.testing.assert_allclose(noise.scale.detach().numpy(), own, rtol=0.08)


@pytest.mark.parametrize("censored", [pytest.param(False, marks=pytest.mark.slow), True])
def test_intervals_hold_and_the_report_compares_no_limit(censored: bool) -> None:
    data = decays(40, 2, censored=censored)
    run = gv.fit(grey(), data)
    drawn = gv.posterior(run, data, PosteriorOptions(draws=200, predictive_draws=20))
    again = observations_of(drawn, run.model.system)
    assert again.error is not None
    np.testing.assert_array_equal(again.x, data.x)
    np.testing.assert_array_equal(again.error, data.error)
    seen = drawn["observed_data"]["x"].values
    assert np.isnan(seen).any() == censored
    for name, truth in data.truth.items():
        low, high = np.quantile(drawn["posterior"][name].values[0], [0.05, 0.95], axis=0)
        assert 0.8 <= ((low < truth) & (truth < high)).mean() <= 1.0, name
    assert float(run.model.noise.scale.detach()) < 0.03  # the stated errors are right


@pytest.mark.slow
def test_a_limit_that_is_taken_for_a_value_biases() -> None:
    data = decays(60, 2, censored=True)
    naive = gv.Dataset(data.x, data.coordinates, data.truth, error=data.error)
    options = PosteriorOptions(draws=100, predictive_draws=2)
    off = []
    for each in (data, naive):
        drawn = gv.posterior(gv.fit(grey(), each), each, options)["posterior"]["rate_constant"]
        off.append(abs(np.log(drawn.values[0]).mean(0) - np.log(data.truth["rate_constant"])))
    assert off[0].mean() < off[1].mean()


def test_what_cannot_take_them_says_so() -> None:
    data = decays(6, 0, censored=False)
    with pytest.raises(InputError, match="Matern noise does not take, expected Gaussian"):
        prepare(gv.GreyBox(Decay(), gv.Unknown("amount", sees=()), gv.Matern(None)), data)


def test_a_table_with_errors_and_limits_is_fitted(tmp_path: Path) -> None:
    data = decays(5, 0, censored=True)
    assert data.error is not None
    assert data.censored is not None
    side = {-1.0: "left", 0.0: "none"}
    rows = [
        (i, t, data.x[i, j], data.error[i, j], side[data.censored[i, j]])
        for i in range(5)
        for j, t in enumerate(TIMES)
    ]
    names = ["observation", "time", "value", "error", "censored"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "decays.csv", index=False)
    read = gv.read(tmp_path / "decays.csv")
    run = prepare(grey(), read)
    assert isinstance(run.model.noise.given(run.batch(read)), Stated)
    assert read.censored is not None
    np.testing.assert_array_equal(read.censored, data.censored)
