"""Other priors without a refit: against the product of two normals, which is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyro.distributions as dist
import pytest
import xarray as xr
from torch.distributions import constraints

from groundvae.inference import arviz as az
from groundvae.inference.importance import UNRELIABLE, prior_ratio, resample, smooth
from groundvae.models.latent import Latent, LatentSpec

MEANS, SCALE, DRAWS = np.linspace(-1, 1, 40), 0.5, 2000


def under_flat_prior() -> az.InferenceData:
    """The posterior of 40 observations of noise 0.5 under a flat prior."""
    rng = np.random.default_rng(0)
    draws = MEANS + SCALE * rng.standard_normal((DRAWS, len(MEANS)))
    dims = ("chain", "draw", "observation")
    posterior = xr.Dataset(
        {"a": (dims, draws[None])},
        coords={"chain": [0], "draw": range(DRAWS), "observation": range(len(MEANS))},
    )
    return az.InferenceData(posterior=posterior)


def run_with(prior: dist.TorchDistribution) -> SimpleNamespace:
    latent = Latent(prior, support=constraints.real, name="a")
    return SimpleNamespace(model=SimpleNamespace(latents=LatentSpec((latent,))))


def reweighted(prior: dist.TorchDistribution) -> az.InferenceData:
    data = under_flat_prior()
    run = run_with(dist.Uniform(-10.0, 10.0))
    ratio = prior_ratio(run, {"a": prior}, data["posterior"])  # type: ignore[arg-type]
    return resample(data, ratio, seed=0)


def test_a_new_prior_gives_the_exact_posterior_under_it() -> None:
    result = reweighted(dist.Normal(0.3, 0.6))["posterior"]["a"].values[0]
    precision = 1 / SCALE**2 + 1 / 0.6**2
    mean = (MEANS / SCALE**2 + 0.3 / 0.6**2) / precision
    np.testing.assert_allclose(result.mean(0), mean, atol=0.06)
    np.testing.assert_allclose(result.std(0), precision**-0.5, rtol=0.12)


def test_the_same_prior_changes_nothing() -> None:
    before, after = under_flat_prior(), reweighted(dist.Uniform(-10.0, 10.0))
    np.testing.assert_array_equal(
        np.sort(before["posterior"]["a"], axis=1), np.sort(after["posterior"]["a"], axis=1)
    )
    np.testing.assert_allclose(after["importance"]["effective_size"], DRAWS)


def test_a_prior_far_from_the_draws_is_reported_as_unreliable() -> None:
    far = reweighted(dist.Normal(6.0, 0.05))["importance"]
    near = reweighted(dist.Normal(0.0, 2.0))["importance"]
    assert (far["k_hat"] > UNRELIABLE).all()
    assert (near["k_hat"] < UNRELIABLE).all()
    assert float(far["effective_size"].max()) < 50


def test_draws_outside_the_new_support_are_dropped() -> None:
    result = reweighted(dist.Uniform(0.0, 1.0))["posterior"]["a"].values
    assert result.min() >= 0.0
    assert result.max() <= 1.0


def test_smoothing_keeps_observations_apart() -> None:
    rng = np.random.default_rng(1)
    heavy = np.stack([np.zeros(400), 3 * rng.standard_cauchy(400)], axis=1)
    log_weights, k_hat = smooth(heavy)
    np.testing.assert_allclose(log_weights[:, 0], log_weights[0, 0])
    assert k_hat[1] == pytest.approx(max(k_hat))
