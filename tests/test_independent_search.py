"""Least squares under a noise that knows its neighbours: modes of one, widths of the other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pyro.distributions import Normal

from groundvae.data.batch import Batch
from groundvae.guides.gaussnewton import GaussNewton
from groundvae.models.function import Function
from groundvae.models.greybox import GreyBox
from groundvae.models.latent import Latent
from groundvae.models.noises import Correlated, Gaussian, Matern
from groundvae.models.noises.dependent import Dependent
from groundvae.models.values import Values

DOUBLE = torch.float64


def made(kind: str) -> tuple[Dependent, tuple[int, ...], torch.Tensor | None]:
    """A noise that is not white, the shape of an observation, and times."""
    torch.manual_seed(0)
    if kind == "images":
        noise: Dependent = Correlated(3, 0.4, knots=5, independent=True, own_spectra=True).double()
        shape, times = (6, 5, 3), None
    else:
        noise = Matern(2, 0.4, length=2.0, independent=True).double()
        shape, times = (7, 2), torch.arange(7, dtype=DOUBLE)
    with torch.no_grad():
        for name, parameter in noise.named_parameters():
            if name != "log_scale":
                parameter.add_(0.4 * torch.randn_like(parameter))
    return noise, shape, times


@pytest.mark.parametrize("kind", ["images", "series"])
def test_it_is_white_until_it_is_refitted(kind: str) -> None:
    noise, shape, times = made(kind)
    x, mean = torch.randn(2, 4, *shape, dtype=DOUBLE)
    observed = torch.rand(4, *shape) > 0.3
    white = Gaussian(0.4).double()
    for there in (None, observed):
        found = noise.log_prob(x, mean, there, times=times)
        torch.testing.assert_close(found, white.log_prob(x, mean, there), rtol=1e-6, atol=1e-6)
    assert [k for k, v in noise.named_parameters() if v.requires_grad] == ["log_scale"]
    before = noise.channels.log_white.clone()
    noise.refit(x, torch.full((4,), float(x[0].numel())), times=times)
    assert not torch.equal(before, noise.channels.log_white)
    other = noise.log_prob(x, mean, times=times)
    assert not torch.allclose(other, white.log_prob(x, mean))


@pytest.mark.parametrize("kind", ["images", "series"])
def test_the_score_has_the_variance_of_the_dense_covariance(kind: str) -> None:
    noise, shape, times = made(kind)
    noise.fitted.fill_(value=True)
    count = math.prod(shape)
    unit = torch.eye(count, dtype=DOUBLE).view(count, 1, *shape)
    colour = noise.covariance(torch.Size(shape), None, times).color(unit).flatten(1)
    dense = colour.T @ colour  # rows are A e_i
    jacobian = torch.randn(1, count, 4, dtype=DOUBLE)
    half = noise.score_factor(jacobian, torch.zeros(1, *shape, dtype=DOUBLE), times)
    expected = jacobian.mT @ dense @ jacobian / noise.scale**2
    torch.testing.assert_close(half.mT @ half, expected.detach(), rtol=1e-8, atol=1e-10)


def test_fields_of_their_own_spectra_are_found_again() -> None:
    """Brightness that varies slowly, colours that vary fast: one spectrum cannot be both."""
    torch.manual_seed(0)
    truth = Correlated(2, 0.3, knots=4, share=0.9, own_spectra=True).double()
    with torch.no_grad():
        truth.spectrum.log_power.copy_(torch.tensor([[4.0, 2, -1, -3], [-1.0, -1, 0, 1]]))
        truth.channels.mixing.copy_(torch.tensor([[1.0, 0.4], [1.0, -0.4]]))
    x = truth.sample(torch.zeros(120, 16, 16, 2, dtype=DOUBLE)).detach()
    freedom = torch.full((120,), 512.0)
    density = {}
    for own in (False, True):
        noise = Correlated(2, 1.0, knots=4, share=0.9, own_spectra=own).double()
        noise.refit(x, freedom)
        density[own] = float(noise.log_prob(x, 0 * x).mean().detach())
    exact = float(truth.log_prob(x, 0 * x).mean().detach())
    assert density[True] > density[False] + 1
    assert density[True] == pytest.approx(exact, abs=0.5)


def test_least_squares_with_these_widths_hold_in_correlated_noise() -> None:
    """The amplitude of a blob: its intervals hold, those of white noise do not."""
    torch.manual_seed(0)
    noise = Correlated(1, 0.3, share=0.9, knots=6, independent=True).double()
    with torch.no_grad():
        noise.spectrum.log_power.copy_(torch.linspace(5.0, -3.0, 6))
    noise.fitted.fill_(value=True)
    across = torch.linspace(-2, 2, 16, dtype=DOUBLE)
    blob = torch.exp(-0.5 * (across**2 + across.unsqueeze(-1) ** 2)).view(1, 16, 16, 1)
    x = noise.sample(blob.expand(400, -1, -1, -1)).detach()
    jacobian = (blob / noise.scale).reshape(1, -1, 1).detach()
    gram = jacobian.square().sum()
    amplitude = (x.flatten(1) / noise.scale @ jacobian[0, :, 0] / gram).detach()
    half = noise.score_factor(jacobian, blob)
    widths = {"sandwich": half.square().sum().sqrt() / gram, "white": gram**-0.5}
    held = {k: ((amplitude - 1).abs() < 1.645 * sd).double().mean() for k, sd in widths.items()}
    assert 0.86 < float(held["sandwich"]) < 0.94
    assert float(held["white"]) < 0.6
    assert np.isfinite(amplitude.numpy()).all()


class Blob(Function):
    """A blob of unknown amplitude, which is all that is seen."""

    axes = ("row", "column", "band")
    amplitude = Latent(Normal(0.0, 1.0))

    def predict(self, z: Values, inputs: Values) -> torch.Tensor:
        across = torch.linspace(-2, 2, 16, dtype=DOUBLE)
        return z.amplitude * torch.exp(-0.5 * (across**2 + across.unsqueeze(-1) ** 2)).unsqueeze(-1)


def test_what_least_squares_tell_is_combined_with_the_prior_for_its_worth() -> None:
    torch.manual_seed(0)
    noise = Correlated(1, 3.0, share=0.9, knots=6, independent=True).double()
    with torch.no_grad():
        noise.spectrum.log_power.copy_(torch.linspace(5.0, -3.0, 6))
    noise.fitted.fill_(value=True)
    model = GreyBox(Blob(), noise=noise)
    none = Values({}, "input")
    blob = Blob().predict(Values({"amplitude": torch.ones((), dtype=DOUBLE)}, "latent"), none)
    x = noise.sample(1.5 * blob.expand(3, -1, -1, -1)).detach()
    start = torch.zeros(3, 1, dtype=DOUBLE)
    scale = start + 10.0  # beyond which nothing moves far
    mode = GaussNewton(model, Batch(x, {}), {}, start, scale)(20)

    flat = blob.flatten()
    curvature = flat.square().sum() / noise.scale.detach() ** 2
    found = (x.flatten(1) @ flat) / flat.square().sum()  # least squares
    near = found * curvature / (curvature + 1)  # the mode of white noise, where residuals are taken
    off = (x.flatten(1) - near.unsqueeze(-1) * flat).detach() / noise.scale.detach()
    misfit = (off.square() @ flat.square()) / flat.square().sum()
    jacobian = flat.view(1, -1, 1) / noise.scale.detach()
    variance = misfit * noise.score_factor(jacobian, blob.unsqueeze(0)).square().sum()
    worth = curvature**2 / variance
    centre, spread = found * worth / (worth + 1), (worth + 1) ** -0.5
    torch.testing.assert_close(mode.centre[:, 0], centre, rtol=0, atol=0.01 * float(spread.min()))
    torch.testing.assert_close(mode.factor[:, 0, 0], spread, rtol=1e-3, atol=0)
    assert float((near - centre).abs().max()) > 0.2 * float(spread.min())
