"""Noise that knows its neighbours, against dense covariances, and found again from its draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from groundvae.data.errors import InputError
from groundvae.models.noises import Correlated, Gaussian, Matern, Noise, Spectral, incomplete
from groundvae.models.noises import cosine as transform
from groundvae.models.noises.dependent import Dependent
from groundvae.models.noises.spectrum import BEND, HIGHEST

DOUBLE = torch.float64
UNEVEN = torch.tensor([0.0, 0.1, 0.7, 1.0, 3.0, 3.0, 4.5], dtype=DOUBLE)


def bent(noise: Dependent, seed: int = 0, by: float = 0.6) -> None:
    """Move the shape of a noise, and not its scale, off its start."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in noise.named_parameters():
            if name != "log_scale":
                parameter.add_(by * torch.randn_like(parameter))


def red(channels: int = 3, scale: float = 0.3) -> Correlated:
    """A noise as galaxies leave it: smooth, alike in all bands, and a detector's."""
    noise = Correlated(channels, scale, share=0.9, knots=6).double()
    with torch.no_grad():
        noise.spectrum.log_power.copy_(torch.linspace(5.0, -3.0, 6))
        noise.channels.lower.fill_(0.8)
        noise.channels.log_white.copy_(torch.linspace(0.4, -0.4, channels))
    return noise


def dense_images(noise: Correlated, rows: int, columns: int) -> Tensor:
    """The covariance by its definition, with scipy's cosines."""
    log_power = noise.spectrum.log_power.detach().numpy()
    place = np.arange(len(log_power)) / (len(log_power) - 1)

    def log_spectrum(down: np.ndarray, along: np.ndarray) -> np.ndarray:
        frequency = np.hypot(down[:, None], along)
        at = np.log1p(frequency / BEND) / np.log1p(HIGHEST / BEND)
        return np.interp(at, place, log_power)

    middle = (np.arange(32) + 0.5) / 64
    across = np.zeros(1) if isinstance(noise, Spectral) else middle
    mean = np.exp(log_spectrum(middle, across)).mean()
    power = (
        np.exp(log_spectrum(np.arange(rows) / rows / 2, np.arange(columns) / columns / 2)) / mean
    )
    cosines = np.kron(
        *(scipy.fft.dct(np.eye(n), axis=0, norm="ortho", type=2) for n in (rows, columns))
    )
    smooth = torch.from_numpy(cosines.T @ (power.ravel()[:, None] * cosines))
    return two_parts(noise, smooth)


def dense_series(noise: Matern, times: Tensor) -> Tensor:
    distance = (times[:, None] - times).abs() / noise.length.detach()
    if noise.smoothness == 0.5:
        return two_parts(noise, torch.exp(-distance))
    a = math.sqrt(3) * distance
    return two_parts(noise, (1 + a) * torch.exp(-a))


def two_parts(noise: Dependent, smooth: Tensor) -> Tensor:
    channels, share = noise.channels, torch.sigmoid(noise.channels.logit_share)
    factor = torch.diag(channels.log_diagonal.exp())
    factor[tuple(torch.tril_indices(channels.count, channels.count, -1))] = channels.lower
    between = factor @ factor.T
    between = between / between.diagonal().mean()
    white = channels.log_white.exp() / channels.log_white.exp().mean()
    eye = torch.eye(len(smooth), dtype=DOUBLE)
    both = share * torch.kron(smooth, between) + (1 - share) * torch.kron(eye, torch.diag(white))
    return (noise.scale**2 * both).detach()


CASES = [
    "images",
    "wide images",
    "spectral series",
    "series 1/2",
    "series 3/2",
    "channels",
    "own times",
]


def case(name: str) -> tuple[Dependent, tuple[int, ...], Tensor | None, Tensor]:
    """A noise, the shape of an event, times, and dense covariances (observation or 1, n, n)."""
    if name in ("images", "wide images"):
        channels, knots, shape = (3, 5, (6, 5)) if name == "images" else (1, 4, (3, 11))
        noise: Dependent = Correlated(channels, 0.7, knots=knots).double()
        bent(noise)
        assert isinstance(noise, Correlated)
        return noise, (*shape, channels), None, dense_images(noise, *shape).unsqueeze(0)
    if name == "spectral series":
        spectral = Spectral(2, 0.7, knots=5, own_spectra=False, own_scales=False).double()
        bent(spectral)
        return spectral, (9, 2), torch.arange(9.0), dense_images(spectral, 9, 1).unsqueeze(0)
    count = {"channels": 3, "own times": 2}.get(name)
    smoothness = 0.5 if name in ("series 1/2", "own times") else 1.5
    matern = Matern(count, 0.7, smoothness=smoothness, length=2.0).double()
    bent(matern)
    times = UNEVEN if name != "own times" else torch.stack([UNEVEN, UNEVEN**1.5, 2 * UNEVEN])
    dense = torch.stack([dense_series(matern, t) for t in times.view(-1, len(UNEVEN))])
    return matern, (len(UNEVEN), *([count] if count else [])), times, dense


@pytest.mark.parametrize("name", CASES)
def test_whitening_and_draws_are_those_of_the_dense_covariance(name: str) -> None:
    noise, shape, times, dense = case(name)
    count = math.prod(shape)
    zero = torch.zeros(3, *shape, dtype=DOUBLE)
    linear = noise.linearize(zero, zero, times=times)
    eye = torch.eye(count, dtype=DOUBLE).expand(3, -1, -1)
    whitener = linear.whiten(eye)
    identity = whitener @ dense @ whitener.mT
    torch.testing.assert_close(identity, eye, rtol=0, atol=1e-8)
    precision = torch.linalg.inv(dense).expand(3, -1, -1)
    torch.testing.assert_close(whitener.mT @ whitener, precision, rtol=1e-8, atol=1e-8)
    folded = noise.folded(zero).shape[1:]
    unit = torch.eye(count, dtype=DOUBLE).view(count, 1, *folded).expand(-1, 3, *folded)
    factor = noise.covariance(folded, None, times).color(unit).flatten(2).permute(1, 2, 0)
    torch.testing.assert_close(factor @ factor.mT, dense.expand(3, -1, -1), rtol=0, atol=1e-8)


@pytest.mark.parametrize("small", [0, incomplete.SMALL])  # in rounds, and by a factor
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_density_is_the_multivariate_normal_of_what_is_there(
    name: str, masked: bool, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incomplete, "SMALL", small)
    noise, shape, times, dense = case(name)
    torch.manual_seed(2)
    x, mean = torch.randn(2, 3, *shape, dtype=DOUBLE)
    observed = torch.rand(3, *shape) > torch.tensor([0.0, 0.2, 0.7]).view(3, *[1] * len(shape))
    there = observed if masked else torch.ones_like(observed)
    x = x * there
    found = noise.log_prob(x, mean, observed if masked else None, times=times)
    each = noise.pointwise(x, mean, observed if masked else None, times=times).flatten(1)
    for i in range(3):
        here = there[i].flatten()
        covariance = dense[i % len(dense)][here][:, here]
        off = (x - mean)[i].flatten()[here]
        exact = MultivariateNormal(torch.zeros_like(off), covariance)
        torch.testing.assert_close(found[i], exact.log_prob(off), rtol=1e-8, atol=1e-8)
        inverse = torch.linalg.inv(covariance)
        variance = 1 / inverse.diagonal()
        left_out = torch.distributions.Normal(off - inverse @ off * variance, variance.sqrt())
        torch.testing.assert_close(each[i][here], left_out.log_prob(off), rtol=1e-8, atol=1e-8)


def test_masks_marginalize_by_hand() -> None:
    """What is missing, integrated out on a grid, changes nothing else."""
    noise = red(1).double()
    x = torch.tensor([[0.3, -0.1], [0.2, 0.0]], dtype=DOUBLE).view(1, 2, 2, 1)
    observed = torch.tensor([[True, True], [True, False]]).view(1, 2, 2, 1)
    grid = torch.linspace(-6, 6, 4001, dtype=DOUBLE)
    filled = x.expand(len(grid), -1, -1, -1).clone()
    filled[:, 1, 1, 0] = grid
    integral = torch.logsumexp(noise.log_prob(filled, 0 * filled), 0) + math.log(12 / 4000)
    torch.testing.assert_close(noise.log_prob(x, 0 * x, observed)[0], integral)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["images", "channels"])
def test_parameters_have_the_gradient_of_the_density(name: str, masked: bool) -> None:
    noise, shape, times, _ = case(name)
    torch.manual_seed(3)
    x = torch.randn(3, *shape, dtype=DOUBLE)
    observed = torch.rand(x.shape) > 0.3 if masked else None
    noise.log_prob(x, 0 * x, observed, times=times).sum().backward()
    for parameter in noise.parameters():
        assert parameter.grad is not None
        step, index = 1e-5, (0,) * parameter.dim()
        ends = []
        for side in (1, -1):
            with torch.no_grad():
                parameter[index].add_(side * step)
                ends.append(noise.log_prob(x, 0 * x, observed, times=times).sum())
                parameter[index].sub_(side * step)
        slope = (ends[0] - ends[1]) / (2 * step)
        torch.testing.assert_close(parameter.grad[index], slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(4, 7), (130, 5), (131, 129)])
def test_cosines_are_scipys_and_their_inverse_is_exact(size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *size, dtype=DOUBLE)
    found = transform.cosine(images)
    expected = scipy.fft.dctn(images.numpy(), axes=(-2, -1), norm="ortho")
    torch.testing.assert_close(found, torch.from_numpy(expected))
    torch.testing.assert_close(transform.inverse(found), images)


def test_it_begins_as_white_noise() -> None:
    x, mean = torch.randn(2, 4, 6, 5, 3, dtype=DOUBLE)
    white = Gaussian(0.4).double().log_prob(x, mean)
    torch.testing.assert_close(
        Correlated(3, 0.4).double().log_prob(x, mean), white, rtol=1e-6, atol=0
    )


def freedom(x: Tensor) -> Tensor:
    return torch.full((len(x),), float(x[0].numel()))


@pytest.mark.parametrize("masked", [False, True])
def test_spectrum_and_bands_are_found_again_from_draws(masked: bool) -> None:
    torch.manual_seed(0)
    truth, found = red(), Correlated(3, 1.0, knots=6)
    x = truth.sample(torch.zeros(150, 20, 16, 3, dtype=DOUBLE)).float()
    observed = torch.rand(150, 20, 16, 1).expand(x.shape) > 0.1 if masked else None
    count = freedom(x) if observed is None else observed.flatten(1).sum(1)
    found.refit(x if observed is None else x * observed, count, observed)
    for noise in (truth, found):
        noise.requires_grad_(False)
    power, expected = (n.power(n.spectrum(20, 16)) for n in (found, truth))
    scale = expected.diagonal(dim1=-2, dim2=-1).sqrt()
    relative = (power - expected) / (scale.unsqueeze(-1) * scale.unsqueeze(-2))
    assert float(relative.abs().mean()) < 0.03
    assert found.scale.item() == pytest.approx(truth.scale.item(), rel=0.03)
    torch.testing.assert_close(found.channels.smooth(), truth.channels.smooth(), rtol=0, atol=0.05)
    torch.testing.assert_close(found.channel_scale.double(), truth.channel_scale, rtol=0.04, atol=0)


def test_white_data_end_in_a_white_spectrum() -> None:
    torch.manual_seed(0)
    noise = red(2).float()
    x = 0.2 * torch.randn(200, 16, 16, 2)
    noise.refit(x, freedom(x))
    power = noise.power(noise.spectrum(16, 16)).detach()
    expected = 0.04 * torch.eye(2, dtype=DOUBLE).expand_as(power)
    middle = (power - expected).abs() / 0.04
    assert float(middle.mean()) < 0.02
    assert float(middle.max()) < 0.15


@pytest.mark.parametrize("smoothness", [0.5, 1.5])
def test_length_and_share_are_found_again_on_uneven_grids(smoothness: float) -> None:
    torch.manual_seed(1)
    times = torch.rand(60, 60).cumsum(1)
    truth = Matern(2, 0.4, smoothness=smoothness, length=2.0, share=0.8)
    with torch.no_grad():
        truth.channels.lower.fill_(1.0)
    x = truth.sample(torch.zeros(60, 60, 2), times=times)
    observed = torch.rand_like(x) > 0.2
    found = Matern(2, 1.0, smoothness=smoothness, length=0.5)
    found.refit(x * observed, observed.flatten(1).sum(1), observed, times=times)
    assert found.scale.item() == pytest.approx(0.4, rel=0.06)
    assert found.length.item() == pytest.approx(2.0, rel=0.15)
    assert found.channels.share.item() == pytest.approx(0.8, abs=0.05)
    torch.testing.assert_close(found.channels.smooth(), truth.channels.smooth(), rtol=0, atol=0.15)


def evidence(noise: Noise, x: Tensor) -> float:
    """Log density at the refit, less what its parameters cost (Schwarz 1978)."""
    noise.refit(x, freedom(x))
    with torch.no_grad():
        density = noise.log_prob(x, torch.zeros_like(x)).sum().item()
    return density - 0.5 * sum(p.numel() for p in noise.parameters()) * math.log(x.numel())


@pytest.mark.parametrize("smooth", [False, True])
def test_evidence_prefers_the_true_noise_of_images(smooth: bool) -> None:
    truth = red(2) if smooth else Gaussian(0.3).double()
    for seed in range(20):
        torch.manual_seed(seed)
        x = truth.sample(torch.zeros(6, 12, 12, 2, dtype=DOUBLE))
        known = evidence(Correlated(2, knots=6).double(), x) > evidence(Gaussian().double(), x)
        assert known == smooth, seed


@pytest.mark.parametrize("smooth", [False, True])
def test_evidence_prefers_the_true_noise_of_series(smooth: bool) -> None:
    truth = Matern(scale=0.3, length=3.0, share=0.7) if smooth else Gaussian(0.3)
    for seed in range(20):
        torch.manual_seed(seed)
        x = truth.sample(torch.zeros(40, 12))
        known = evidence(Matern(), x) > evidence(Gaussian(), x)
        assert known == smooth, seed


def test_draws_have_the_stated_covariance() -> None:
    torch.manual_seed(0)
    noise, shape, _, dense = case("images")
    x = noise.sample(torch.zeros(40_000, *shape, dtype=DOUBLE)).flatten(1).detach()
    error = x.T @ x / len(x) - dense[0]
    spread = dense[0].diagonal().sqrt()
    assert float((error / spread / spread.unsqueeze(-1)).abs().max()) < 0.03


def test_intervals_of_a_blob_in_correlated_noise_hold() -> None:
    """Its amplitude, by one Gauss-Newton step; white noise of the same variance is too sure."""
    torch.manual_seed(0)
    noise, n = red(1), 400
    across = torch.linspace(-2, 2, 16, dtype=DOUBLE)
    blob = torch.exp(-0.5 * (across**2 + across.unsqueeze(-1) ** 2)).view(1, 16, 16, 1)
    x = noise.sample(blob.expand(n, -1, -1, -1)).detach()
    cover = {}
    white = Gaussian(noise.scale.item()).double()
    for name, kind in {"correlated": noise, "white": white}.items():
        linear = kind.linearize(x, torch.zeros_like(x))
        jacobian = linear.whiten(blob.view(1, -1, 1).expand(n, -1, -1))
        gram = jacobian.square().sum((1, 2))
        amplitude = (jacobian.squeeze(-1) * linear.residual).sum(1) / gram
        cover[name] = ((amplitude - 1).abs() < 1.645 / gram.sqrt()).double().mean().item()
    assert 0.86 < cover["correlated"] < 0.94
    assert cover["white"] < 0.6


def test_a_spectral_series_without_channels_is_that_of_one() -> None:
    """And uneven times are refused, since it has a spectrum of the samples."""
    torch.manual_seed(0)
    one, flat = Spectral(1, 0.4).double(), Spectral(None, 0.4).double()
    bent(one)
    flat.load_state_dict(one.state_dict())
    x, mean = torch.randn(2, 3, 8, dtype=DOUBLE)
    there = torch.rand(3, 8) > 0.3
    for seen in (None, there):
        whole = None if seen is None else seen.unsqueeze(-1)
        expected = one.log_prob(x.unsqueeze(-1), mean.unsqueeze(-1), whole)
        torch.testing.assert_close(flat.log_prob(x, mean, seen), expected)
        whitened = one.whitened(x.unsqueeze(-1), mean.unsqueeze(-1), whole).squeeze(-1)
        torch.testing.assert_close(flat.whitened(x, mean, seen), whitened)
    assert flat.sample(mean).shape == mean.shape
    with pytest.raises(InputError, match="uneven, which Spectral noise does not take"):
        flat.log_prob(x, mean, times=torch.arange(8.0) ** 2)


def test_data_without_any_white_noise_end_in_a_finite_fit() -> None:
    """Their likelihood has no largest value: the search ends where digits do."""
    torch.manual_seed(0)
    cosines = torch.zeros(20, 3, 16, 16)
    cosines[:, :, :4, :4] = torch.randn(20, 3, 4, 4)
    x = transform.inverse(cosines).movedim(-3, -1)
    noise = Correlated(3)
    noise.refit(x, freedom(x))
    assert all(bool(p.isfinite().all()) for p in noise.parameters())
    assert bool((noise.log_prob(x, 0 * x) > Gaussian(x.std().item()).log_prob(x, 0 * x)).all())
