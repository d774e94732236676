"""Noise whose size is each observation's own: a multivariate t, against scipy's and by masks."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import multivariate_t
from torch import Tensor

from groundvae.models.noises import Spectral

DOUBLE = torch.float64


def made(degrees: float, channels: int = 2) -> Spectral:
    torch.manual_seed(0)
    noise = Spectral(channels, 0.4, share=0.8, knots=5, own_spectra=False).double()
    with torch.no_grad():
        noise.spectrum.log_power.copy_(torch.linspace(2.0, -2.0, 5))
        noise.channels.lower.fill_(0.5)
    assert noise.scales is not None
    noise.scales.log_excess.fill_(torch.tensor(degrees - 2).log())
    return noise


def dense(noise: Spectral, time: int) -> Tensor:
    count = time * 2
    unit = torch.eye(count, dtype=DOUBLE).view(count, time, 1, 2)
    colour = noise.covariance(torch.Size((time, 1, 2))).color(unit).flatten(1)
    return (colour.T @ colour).detach()


@pytest.mark.parametrize("masked", [False, True])
def test_the_density_is_that_of_a_multivariate_t(masked: bool) -> None:
    noise, covariance = made(5.0), dense(made(5.0), 6)
    x, mean = torch.randn(2, 3, 6, 2, dtype=DOUBLE)
    observed = torch.rand(3, 6, 2) > 0.3 if masked else None
    found = noise.log_prob(x, mean, observed)
    for i in range(3):
        here = torch.ones(12, dtype=torch.bool) if observed is None else observed[i].flatten()
        shape = covariance[here][:, here] * 3 / 5  # of degrees 5
        off = (x - mean)[i].flatten()[here].numpy()
        exact = multivariate_t(shape=shape.numpy(), df=5.0).logpdf(off)
        assert float(found[i]) == pytest.approx(float(exact), abs=1e-7)


def test_a_sample_given_the_others_is_what_hiding_it_takes_away() -> None:
    noise = made(4.0)
    x, mean = torch.randn(2, 2, 5, 2, dtype=DOUBLE)
    each = noise.pointwise(x, mean)
    whole = noise.log_prob(x, mean)
    for time, channel in ((0, 0), (2, 1), (4, 0)):
        without = torch.ones(2, 5, 2, dtype=torch.bool)
        without[:, time, channel] = False
        difference = whole - noise.log_prob(x, mean, without)
        torch.testing.assert_close(each[:, time, channel], difference, rtol=1e-6, atol=1e-7)


def test_degrees_and_scale_are_found_again_from_draws() -> None:
    truth = made(6.0)
    x = truth.sample(torch.zeros(600, 24, 2, dtype=DOUBLE)).detach()
    found = Spectral(2, 1.0, knots=5, own_spectra=False).double()
    found.refit(x, torch.full((600,), 48.0))
    assert found.scales is not None
    assert float(found.scales.degrees) == pytest.approx(6.0, abs=1.5)
    assert float(found.scale) == pytest.approx(0.4, rel=0.1)
    alike = Spectral(2, 1.0, knots=5, own_spectra=False, own_scales=False).double()
    alike.refit(x, torch.full((600,), 48.0))
    gain = (found.log_prob(x, 0 * x) - alike.log_prob(x, 0 * x)).mean()
    assert float(gain) > 0.5
