"""Every noise: density, search and draws agree; white ones against their textbook laws."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from groundvae.data.errors import InputError
from groundvae.models import noises
from groundvae.models.noises import (
    NOISES,
    Correlated,
    Gaussian,
    Matern,
    Noise,
    PerChannel,
    Poisson,
    Spectral,
    StudentT,
)

DOUBLE = torch.float64
N, ROWS, COLUMNS, BANDS, L = 3, 4, 5, 2, 3
MAKERS = {
    "gaussian": lambda: Gaussian(0.3, rate_multiplier=3.0),
    "per_channel": lambda: PerChannel(BANDS, 0.3),
    "student_t": lambda: StudentT(0.3, df=5.0),
    "poisson": lambda: Poisson(),
    "poisson log": lambda: Poisson(link="log"),
    "correlated": lambda: Correlated(BANDS, 0.3, knots=4),
    "correlated flat": lambda: Correlated(None, 0.3, knots=4),
    "matern": lambda: Matern(BANDS, 0.3),
    "matern flat": lambda: Matern(None, 0.3, smoothness=0.5),
    "spectral": lambda: Spectral(BANDS, 0.3, knots=4, own_scales=False),
    "spectral flat": lambda: Spectral(None, 0.3, knots=4, own_scales=False),
}
SHAPES = {
    "correlated flat": (ROWS, COLUMNS),
    "matern": (COLUMNS, BANDS),
    "matern flat": (COLUMNS,),
    "spectral": (COLUMNS, BANDS),
    "spectral flat": (COLUMNS,),
}


def made(kind: str, seed: int = 0) -> Noise:
    """A noise in double precision, its parameters off their start."""
    torch.manual_seed(seed)
    noise = MAKERS[kind]().double()
    with torch.no_grad():
        for name, parameter in noise.named_parameters():
            if name not in ("log_scale", "log_excess"):
                parameter.add_(0.7 * torch.randn_like(parameter))
    return noise


def data(kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """x, mean and a mask, x zero where it is missing."""
    shape = SHAPES.get(kind, (ROWS, COLUMNS, BANDS))
    mean = 0.5 + torch.rand(N, *shape, dtype=DOUBLE)
    x = torch.poisson(mean) if kind.startswith("poisson") else mean + torch.randn_like(mean)
    observed = torch.rand(mean.shape) > 0.3
    observed[0] = True
    return x * observed, mean, observed


def test_every_noise_has_its_name() -> None:
    assert {kind.split()[0] for kind in MAKERS} == set(NOISES)
    assert all(getattr(noises, name) for name in noises.__all__)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", MAKERS)
def test_slope_and_curvature_are_those_of_the_density(kind: str, masked: bool) -> None:
    noise = made(kind)
    x, mean, observed = data(kind)
    there = observed if masked else None
    mean.requires_grad_()
    (slope,) = torch.autograd.grad(noise.log_prob(x, mean, there).sum(), mean)
    jacobian = torch.randn(N, mean[0].numel(), L, dtype=DOUBLE)
    linear = noise.linearize(x, mean, there)
    along = torch.einsum("nvl,nv->nl", jacobian, slope.flatten(1))
    found = torch.einsum("nvl,nv->nl", linear.whiten(jacobian), linear.residual)
    torch.testing.assert_close(found, along, rtol=1e-8, atol=1e-8)
    assert not linear.residual.requires_grad


@pytest.mark.parametrize("kind", [k for k in MAKERS if not k.startswith(("poisson", "student"))])
def test_gaussian_curvature_is_exact(kind: str) -> None:
    noise = made(kind)
    x, mean, observed = data(kind)
    eye = torch.eye(mean[0].numel(), dtype=DOUBLE)
    whitened = noise.linearize(x, mean, observed).whiten(eye.expand(N, -1, -1))
    moved = torch.cat([mean.unsqueeze(0), mean + eye.view(-1, 1, *mean.shape[1:])]).requires_grad_()
    (slope,) = torch.autograd.grad(noise.log_prob(x, moved, observed).sum(), moved)
    exact = (slope[:1] - slope[1:]).flatten(2).movedim(0, 1)  # slopes are linear in the mean
    torch.testing.assert_close(whitened.mT @ whitened, exact, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", ["student_t", "poisson", "poisson log"])
def test_fisher_information_is_the_mean_square_of_the_slope(kind: str) -> None:
    noise = made(kind)
    mean = torch.full((100_000, 1), 1.7, dtype=DOUBLE, requires_grad=True)
    x = noise.sample(mean.detach())
    (slope,) = torch.autograd.grad(noise.log_prob(x, mean).sum(), mean)
    root = noise.linearize(x, mean).whiten(torch.ones(len(x), 1, 1, dtype=DOUBLE))[0]
    assert float(slope.square().mean() / root**2) == pytest.approx(1, abs=0.03)
    assert float(slope.mean() / root) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("kind", MAKERS)
def test_distribution_and_methods_say_the_same(kind: str) -> None:
    noise = made(kind)
    x, mean, observed = data(kind)
    draws = mean * torch.tensor([[1.0], [1.1]]).view(2, 1, *[1] * (mean.dim() - 1))
    given = noise(draws, event_dim=mean.dim() - 1, observed=observed)
    assert given.batch_shape == (2, N)
    assert given.event_shape == mean.shape[1:]
    both = noise.log_prob(x, draws, observed)
    torch.testing.assert_close(given.log_prob(x), both)
    torch.testing.assert_close(noise.log_prob(x, mean, observed), both[0])
    torch.testing.assert_close(given.expand((4, 2, N)).log_prob(x), both.expand(4, 2, N))
    assert given.sample((6,)).shape == (6, *draws.shape)
    assert noise.sample(draws).shape == draws.shape
    all_there = torch.ones_like(observed)
    torch.testing.assert_close(noise.log_prob(x, mean, all_there), noise.log_prob(x, mean))


@pytest.mark.parametrize("kind", MAKERS)
def test_values_that_are_missing_do_not_count(kind: str) -> None:
    noise = made(kind)
    x, mean, observed = data(kind)
    other = torch.where(observed, x, x + 3.0)
    astray = torch.where(observed, mean, mean + 2.0)
    expected = noise.log_prob(x, mean, observed)
    torch.testing.assert_close(noise.log_prob(other, astray, observed), expected)
    each = noise.pointwise(other, astray, observed)
    assert bool((each.isnan() == ~observed).all())
    torch.testing.assert_close(each, noise.pointwise(x, mean, observed), equal_nan=True)


@pytest.mark.parametrize("kind", MAKERS)
def test_each_sample_is_judged_given_the_others(kind: str) -> None:
    noise = made(kind)
    x, mean, observed = data(kind)
    each = noise.pointwise(x, mean, observed)
    for place in observed.flatten(1).float().argmax(1).tolist(), [-1] * N:
        one = torch.zeros_like(observed.flatten(1))
        one[range(N), place] = True
        one = one.view(observed.shape) & observed
        without = noise.log_prob(x, mean, observed & ~one)
        expected = noise.log_prob(x, mean, observed) - without
        found = each.masked_fill(~one, 0.0).flatten(1).sum(1)
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", [k for k in MAKERS if not k.startswith("poisson")])
def test_scale_is_the_standard_deviation_and_can_be_moved(kind: str) -> None:
    torch.manual_seed(1)
    noise = MAKERS[kind]()
    mean = torch.zeros(2000, *SHAPES.get(kind, (ROWS, COLUMNS, BANDS)))
    assert noise.scale.mean().item() == pytest.approx(0.3, rel=1e-5)
    assert noise.sample(mean).std().item() == pytest.approx(0.3, rel=0.06)
    noise.sharpen(0.5)
    assert noise.scale.mean().item() == pytest.approx(0.15, rel=1e-5)
    assert noise.log_scale.requires_grad
    noise.hold(0.7)
    assert noise.scale.mean().item() == pytest.approx(0.7, rel=1e-5)
    noise.refit(torch.randn_like(mean), torch.full((2000,), float(mean[0].numel())))
    assert noise.scale.mean().item() == pytest.approx(0.7, rel=1e-5)


def test_gaussian_is_that_of_the_first_release() -> None:
    """To the bit: fits of before stay as they were."""
    torch.manual_seed(0)
    mean, x = torch.randn(2, 5, 7), torch.randn(5, 7)
    observed = torch.rand(5, 7) > 0.2
    for scale, pace in [(0.1, 1.0), (0.02, 30.0), (0.37, 3.0)]:
        noise = Gaussian(scale, rate_multiplier=pace)
        assert torch.equal(noise.log_scale, torch.tensor(math.log(scale) / pace))
        deviation = (pace * noise.log_scale).exp()
        assert torch.equal(noise.scale, deviation)
        for mask in (None, observed):
            before = dist.Normal(mean, deviation)
            before = (before if mask is None else before.mask(mask)).to_event(1)
            assert torch.equal(noise.log_prob(x, mean, mask), before.log_prob(x))
            assert torch.equal(
                noise(mean, event_dim=1, observed=mask).log_prob(x), before.log_prob(x)
            )
            there = torch.ones_like(x) if mask is None else mask.to(x)
            weight = there / deviation
            linear = noise.linearize(x, mean[0], mask)
            assert torch.equal(linear.residual, weight * (x - mean[0]))
            jacobian = torch.randn(5, 7, 2)
            assert torch.equal(linear.whiten(jacobian), weight.unsqueeze(-1) * jacobian)


def test_refit_of_white_noise_divides_by_what_the_latents_left() -> None:
    torch.manual_seed(0)
    off, observed = torch.randn(6, 8, 2), torch.rand(6, 8, 2) > 0.2
    usual = torch.arange(6) > 0
    freedom = observed.flatten(1).sum(1) - 3.0
    off[0] = 100.0
    noise = Gaussian(0.1, rate_multiplier=2.0)
    noise.refit(off, freedom, observed, usual)
    square = (off[1:] ** 2 * observed[1:]).sum() / freedom[1:].sum()
    torch.testing.assert_close(noise.scale**2, square)
    channels = PerChannel(2)
    channels.refit(off, freedom, observed, usual)
    ratio = observed[1:].sum() / freedom[1:].sum()
    square = (off[1:] ** 2 * observed[1:]).sum((0, 1)) / observed[1:].sum((0, 1))
    torch.testing.assert_close(channels.scale**2, ratio * square)


@pytest.mark.parametrize("df", [3.0, 8.0])
def test_student_t_finds_its_width_and_its_tails(df: float) -> None:
    torch.manual_seed(0)
    truth, found = StudentT(0.4, df=df), StudentT(1.5, df=5.0, learned=True)
    off = truth.sample(torch.zeros(400, 50))
    found.refit(off, torch.full((400,), 50.0))
    assert found.width.item() == pytest.approx(truth.width.item(), rel=0.03)
    assert found.df.item() == pytest.approx(df, rel=0.15)
    best = found.log_prob(off, 0 * off).sum()
    for name in ("log_scale", "log_excess"):  # no neighbour is more likely
        for shift in (-0.1, 0.1):
            with torch.no_grad():
                getattr(found, name).add_(shift)
                assert found.log_prob(off, 0 * off).sum() < best
                getattr(found, name).sub_(shift)


def test_a_model_with_any_noise_is_a_pyro_program() -> None:
    for kind in MAKERS:
        noise = made(kind)
        x, mean, observed = data(kind)

        def model(
            noise: Noise = noise, mean: Tensor = mean, x: Tensor = x, observed: Tensor = observed
        ) -> None:
            with pyro.plate("observation", N, dim=-1):
                given = noise(mean, event_dim=mean.dim() - 1, observed=observed)
                pyro.sample("x", given, obs=x)

        trace = pyro.poutine.trace(model).get_trace()
        torch.testing.assert_close(trace.log_prob_sum(), noise.log_prob(x, mean, observed).sum())


def test_state_is_restored_from_plain_values() -> None:
    for kind in MAKERS:
        noise, copy = made(kind), MAKERS[kind]().double()
        copy.load_state_dict(noise.state_dict())
        x, mean, _ = data(kind)
        torch.testing.assert_close(copy.log_prob(x, mean), noise.log_prob(x, mean))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Gaussian(0.0), "above 0"),
        (lambda: Gaussian(0.1, rate_multiplier=-1.0), "rate_multiplier"),
        (lambda: PerChannel(0), "channels"),
        (lambda: PerChannel(2).sample(torch.zeros(4, 3)), "2 channels"),
        (lambda: StudentT(df=2.0), "above 2"),
        (lambda: Poisson(link="probit"), "probit"),
        (lambda: Poisson().hold(0.1), "follows from its rate"),
        (lambda: Poisson()(torch.tensor([[1.0], [-2.0]]), event_dim=1), "observation 1 is -2"),
        (lambda: Poisson()(-torch.ones(4, 2, 3), event_dim=1), "observation 0"),
        (lambda: Poisson().log_prob(torch.full((2, 1), 0.5), torch.ones(2, 1)), "holds 0.5"),
        (lambda: Correlated(3, share=1.0), "inside"),
        (lambda: Correlated(3, knots=1), "knots"),
        (lambda: Correlated(3)(torch.zeros(2, 4, 4, 3), event_dim=0), "3 axes"),
        (lambda: Correlated(3).sample(torch.zeros(2, 4, 4, 2)), "(4, 4, 2)"),
        (lambda: Matern(smoothness=2.5), "0.5 or 1.5"),
        (lambda: Matern(length=0.0), "length"),
        (lambda: Matern().sample(torch.zeros(2, 3), times=torch.tensor([0.0, 2.0, 1.0])), "fall"),
        (lambda: Matern().sample(torch.zeros(2, 3), times=torch.zeros(2)), "2 times"),
    ],
)
def test_bad_arguments_are_told_in_one_sentence(call: object, words: str) -> None:
    with pytest.raises(InputError, match=words.replace("(", r"\(").replace(")", r"\)")) as error:
        call()  # type: ignore[operator]
    assert ". " not in str(error.value)
