"""Populations by deconvolution: known ones, circles, conditionals, and what a run keeps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from scipy.stats import norm, wasserstein_distance

from groundvae.cli.main import main
from groundvae.data.errors import InputError
from groundvae.data.measurement import measure_pendulum
from groundvae.data.pendulum import simulate
from groundvae.diagnostics.distance import classify, energy_distance
from groundvae.inference import arviz as az
from groundvae.inference.deconvolution import Likelihoods, deconvolve
from groundvae.inference.generation import population_of
from groundvae.inference.population import Places, Population, log_ratio
from groundvae.inference.run import RunConfig, new_run
from groundvae.models.wrapped import WrappedMixture

if TYPE_CHECKING:
    from tests.conftest import Tiny

LINE = math.inf


def likelihoods(seen: np.ndarray, sd: np.ndarray, periods: list[float]) -> Likelihoods:
    """Of normal measurements ``seen`` (n, place) with errors ``sd`` of that shape."""
    x, known = torch.as_tensor(seen), torch.as_tensor(1 / sd**2)
    return Likelihoods(torch.diag_embed(known), known * x, x, torch.tensor(periods).double())


def bimodal(n: int, rng: np.random.Generator) -> np.ndarray:
    second = rng.random(n) < 0.4
    return np.where(second, rng.normal(-0.8, 0.15, n), rng.normal(0.7, 0.25, n))


def test_a_known_population_comes_back_from_noisy_observations() -> None:
    rng = np.random.default_rng(0)
    truth, sd = bimodal(1000, rng), rng.uniform(0.2, 0.6, 1000)
    seen = truth + sd * rng.normal(size=1000)
    found = deconvolve(likelihoods(seen[:, None], sd[:, None], [LINE]))
    torch.manual_seed(0)
    drawn = found.sample(20_000)[:, 0].numpy()
    other = bimodal(20_000, rng)
    assert wasserstein_distance(drawn, other) < 0.1 * other.std()
    assert wasserstein_distance(seen, other) > 0.15 * other.std()  # what was seen is wider


def test_an_angle_keeps_its_mean_across_the_seam_and_its_dependence() -> None:
    rng = np.random.default_rng(1)
    angle = rng.normal(0.05, 0.2, 500)
    truth = np.stack([angle % math.pi, 2 * (angle - 0.05) + rng.normal(0, 0.3, 500)], 1)
    found = deconvolve(likelihoods(truth, np.full((500, 2), 0.01), [math.pi, LINE]))
    torch.manual_seed(0)
    left = found.given({0: torch.full((4000,), math.pi - 0.15).double()}, 4000)
    assert abs(float(left[:, 1].mean()) + 0.4) < 0.05
    drawn = found.sample(4000)[:, 0]
    assert float(((drawn > 1.0) & (drawn < 2.2)).double().mean()) < 0.01


def test_given_is_the_normal_regression() -> None:
    covariance = torch.tensor([[[1.0, 0.6], [0.6, 1.0]]]).double()
    mixture = WrappedMixture(
        torch.ones(1).double(),
        torch.zeros(1, 2).double(),
        covariance,
        torch.tensor([LINE, LINE]).double(),
    )
    torch.manual_seed(0)
    drawn = mixture.given({1: torch.full((20_000,), 2.0).double()}, 20_000)
    torch.testing.assert_close(drawn[:, 1], torch.full((20_000,), 2.0).double())
    assert abs(float(drawn[:, 0].mean()) - 1.2) < 0.03
    assert abs(float(drawn[:, 0].std()) - 0.8) < 0.02


def test_energy_distance_of_two_normals_is_exact() -> None:
    one = norm.ppf((np.arange(2000) + 0.5) / 2000)[:, None]
    other = one + 1
    # E|N(m, 2)| = 2 / sqrt(pi) exp(-m^2 / 4) + m (2 Phi(m / sqrt 2) - 1)
    apart = 2 / math.sqrt(math.pi) * math.exp(-0.25) + math.erf(0.5)
    expected = 2 * apart - 2 * 2 / math.sqrt(math.pi)
    assert abs(energy_distance(one, other) - expected) < 0.005


def test_a_classifier_is_at_chance_for_equal_distributions_and_not_for_others() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 300, 5))
    equal = classify(one, other)
    assert equal.low < 0.5 < equal.high
    assert classify(one, 1.5 * other).accuracy > 0.6


def test_the_frequency_of_a_pendulum_is_measured_without_a_model() -> None:
    data = simulate(100, 5)
    off = measure_pendulum(data)["omega"] - data.truth["omega"]
    assert np.median(np.abs(off)) < 0.02


def test_draws_weighted_by_the_population_have_it_as_their_prior() -> None:
    run = new_run(RunConfig("pendulum", 50, "physics-only"))
    wide, mean, middle = 0.25, torch.tensor([0.8, 0.0]).double(), torch.tensor([0.2, 0.1]).double()
    known = Population(
        WrappedMixture(
            torch.ones(1).double(),
            mean.view(1, 2),
            torch.diag(torch.tensor([0.09, 1.0]).double()).unsqueeze(0),
            torch.tensor([LINE, LINE]).double(),
        ),
        ("omega", "theta0"),
        (),
    )
    torch.manual_seed(0)
    points = middle + math.sqrt(wide) * torch.randn(100_000, 2).double()
    places = Places(run, ())
    latents = places.latents(points, points.new_zeros(len(points), 0))
    weight = log_ratio(run, known, latents).softmax(0)
    # Normals: precisions and pulls of the draws and of the population, less those of the prior.
    precision = torch.tensor([1 / wide + 1 / 0.09 - 1, 1 / wide + 1 - 1]).double()
    expected = (middle / wide + mean / torch.tensor([0.09, 1.0]).double()) / precision
    torch.testing.assert_close(weight @ points, expected, atol=0.01, rtol=0)


def test_the_population_as_a_prior_warns_that_data_count_twice(
    tiny: Tiny, tmp_path: Path, small_posterior: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.nc"
    command = ["posterior", str(tiny.run), "--data", str(tiny.data), "--out", str(out)]
    assert main([*command, *small_posterior, "--prior", "population"]) == 0
    told = capsys.readouterr()
    assert "uses data twice" in told.err
    assert "k-hat" in told.out
    stored = az.from_netcdf(str(out))
    assert (stored["importance"]["effective_size"] < 20).any()
    assert len(np.unique(stored["posterior"]["omega"][0, :, 0])) < 20  # draws were taken again


def test_a_run_without_a_population_says_so() -> None:
    with pytest.raises(InputError, match="holds no population"):
        population_of(new_run(RunConfig("pendulum", 50, "physics-only")))
