"""Physics latents: supports, bijectors and swapped priors."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import constraints

from groundvae.data.errors import InputError
from groundvae.models.latent import Latent, LatentSpec
from groundvae.models.systems.pendulum import Pendulum

OMEGA, THETA0 = Pendulum.omega, Pendulum.theta0

PRIORS = [
    dist.Uniform(0.392, 3.53),
    dist.LogNormal(0.5, 0.4),
    dist.Gamma(2.0, 1.0),
    dist.HalfNormal(2.0),
    dist.Beta(2.0, 3.0),
    dist.Exponential(1.0),
]


@pytest.mark.parametrize("prior", PRIORS, ids=lambda p: type(p).__name__)
def test_constrain_and_unconstrain_are_inverse_and_stay_inside(
    prior: dist.TorchDistribution,
) -> None:
    spec = LatentSpec((Latent(prior, support=constraints.nonnegative, name="a"),))
    u = torch.linspace(-4, 4, 17, dtype=torch.float64).unsqueeze(-1)
    values, log_det = spec.constrain(u)
    assert prior.support.check(values["a"]).all()
    torch.testing.assert_close(spec.unconstrain(values), u, atol=1e-5, rtol=1e-5)
    u.requires_grad_()
    slope = torch.autograd.grad(spec.constrain(u)[0]["a"].sum(), u)[0]
    torch.testing.assert_close(log_det.exp(), slope, rtol=1e-4, atol=1e-8)


@given(st.floats(-1e4, 1e4))
def test_extreme_values_stay_strictly_inside_with_finite_density(u: float) -> None:
    spec = LatentSpec((OMEGA, THETA0))
    values, _ = spec.constrain(torch.tensor([[u, -u]]))
    for latent in spec:
        assert torch.isfinite(latent.prior.log_prob(values[latent.name])).all()


@pytest.mark.parametrize(
    "prior", [dist.Normal(0.0, 1.0), dist.Uniform(-0.5, 2.0), dist.Laplace(3.0, 0.1)]
)
def test_a_prior_that_leaves_the_physical_support_is_refused(
    prior: dist.TorchDistribution,
) -> None:
    with pytest.raises(InputError, match=r"prior of omega is .* expected support within"):
        LatentSpec((OMEGA,)).with_priors({"omega": prior})


def test_priors_are_swapped_by_name() -> None:
    swapped = LatentSpec((OMEGA, THETA0)).with_priors({"omega": dist.LogNormal(0.5, 0.4)})
    assert isinstance(swapped.latents[0].prior, dist.LogNormal)
    assert swapped.latents[1] is not None
    with pytest.raises(InputError, match=r"no physics latent 'w' .* known: omega, theta0"):
        LatentSpec((OMEGA, THETA0)).with_priors({"w": dist.LogNormal(0.5, 0.4)})


def test_a_prior_with_a_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected a scalar"):
        LatentSpec((Latent(dist.Normal(torch.zeros(2), 1.0), name="a"),))


@pytest.mark.parametrize("prior", PRIORS, ids=lambda p: type(p).__name__)
def test_a_prior_follows_the_precision_of_the_data(prior: dist.TorchDistribution) -> None:
    latent = Latent(prior, support=constraints.nonnegative, name="a")
    double = latent.prior_like(torch.zeros(1, dtype=torch.float64))
    value = torch.tensor(0.5, dtype=torch.float64)
    assert double.sample().dtype == torch.float64
    assert float(double.log_prob(value)) == pytest.approx(float(prior.log_prob(value)), rel=1e-5)
