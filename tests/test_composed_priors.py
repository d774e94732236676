"""Truncated, mixed and hierarchical priors: as text, as densities, and in a fit."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from groundvae.cli.main import main
from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.inference import arviz as az
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.optimize import optimize
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import RunConfig, load_run, new_run
from groundvae.models.hierarchy import Hierarchical
from groundvae.models.ownfile import find_system
from groundvae.models.precision import like
from groundvae.models.prior import format_prior, format_priors, parse_prior, parse_priors
from groundvae.models.recipe import FitOptions

GRID = torch.linspace(-8, 8, 4001, dtype=torch.float64)
TEXTS = (
    "Truncated(Normal(1, 0.5), low=0.2, high=2.0)",
    "Truncated(Normal(1, 0.5), low=0.0)",
    "Truncated(LogNormal(0, 1), high=3.0)",
    "Truncated(Cauchy(0, 1), -1, 4)",
    "Mixture(1, Normal(-2, 0.3), 3, Normal(1, 0.5))",
    "Mixture(0.5, Truncated(Normal(0, 1), 0, 4), 0.5, Truncated(Cauchy(2, 1), 0, 4))",
)
HYPER = {"omega": "LogNormal(mu, s)", "mu": "Normal(0.5, 0.2)", "s": "HalfNormal(0.2)"}


@pytest.mark.parametrize("text", TEXTS)
def test_densities_integrate_to_one_and_draws_follow_them(text: str) -> None:
    prior = like(parse_prior(text), GRID)
    inside = prior.support.check(GRID)
    density = prior.log_prob(GRID[inside]).exp().numpy()
    grid = GRID[inside].numpy()
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=0.01)
    torch.manual_seed(0)
    draws = prior.sample(torch.Size([4000]))
    assert prior.support.check(draws).all()
    cdf = np.cumsum(density) * (grid[1] - grid[0])
    assert stats.kstest(draws.numpy(), lambda v: np.interp(v, grid, cdf)).statistic < 0.03


@pytest.mark.parametrize("text", TEXTS)
def test_text_and_back(text: str) -> None:
    written = format_prior(parse_prior(text))
    assert format_prior(parse_prior(written)) == written


def test_hierarchical_text_and_back() -> None:
    priors = parse_priors(HYPER)
    assert set(priors) == {"omega"}
    texts = format_priors(priors)
    assert texts == {
        "omega": "LogNormal(loc=mu, scale=s)",
        "mu": "Normal(loc=0.5, scale=0.2)",
        "s": "HalfNormal(scale=0.2)",
    }
    assert format_priors(parse_priors(texts)) == texts


def test_the_marginal_of_a_hierarchical_prior() -> None:
    prior = parse_priors({"a": "Normal(m, 0.6)", "m": "Normal(1, 0.8)"})["a"]
    assert isinstance(prior, Hierarchical)
    at = torch.linspace(-1, 3, 9)
    np.testing.assert_allclose(prior.log_prob(at), dist.Normal(1.0, 1.0).log_prob(at), atol=0.15)
    torch.manual_seed(0)
    draws = prior.sample(torch.Size([20_000]))
    assert float(draws.mean()) == pytest.approx(1.0, abs=0.03)
    assert float(draws.std()) == pytest.approx(1.0, abs=0.03)


WORDS = st.sampled_from(
    ["Truncated(", "Mixture(", "Normal(", "LogNormal(", "Beta(", ")", ",", "=", "low=", "high=",
     "0", "1", "0.5", "-2", "1e9", "mu", "s", "[", "__import__('os')", " "]
)  # fmt: skip
TEXT = st.one_of(st.text(max_size=20), st.lists(WORDS, max_size=14).map("".join), st.sampled_from(
    TEXTS))  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(TEXT)
def test_any_text_is_a_distribution_or_one_sentence(text: str) -> None:
    try:
        found = parse_prior(text)
    except InputError as refused:
        told = str(refused)
        assert "\n" not in told.replace(repr(text), "")
    else:
        assert isinstance(found, dist.TorchDistribution)
        assert format_prior(parse_prior(format_prior(found))) == format_prior(found)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(["omega", "mu", "s", "x"]), TEXT, max_size=3))
def test_any_texts_are_priors_or_one_sentence(texts: dict[str, str]) -> None:
    with contextlib.suppress(InputError):
        format_priors(parse_priors(texts))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Truncated(Normal(0, 1))", "expected Truncated"),
        ("Truncated(Normal(0, 1), 2, 1)", "expected low below high"),
        ("Truncated(Normal(0, 1), 50, 60)", "leaves almost nothing"),
        ("Truncated(Gamma(2, 1), 0, 1)", "Gamma has no cdf"),
        ("Truncated(Normal(0, 1), low=0, mid=1)", "expected Truncated"),
        ("Truncated(Mixture(1, Normal(0, 1), 1, Normal(1, 1)), 0, 1)", "cannot be Truncated"),
        ("Mixture(1, Normal(0, 1))", "two or more"),
        ("Mixture(1, Normal(0, 1), 0, Normal(1, 1))", "above 0"),
        ("Mixture(1, Normal(0, 1), 1, LogNormal(1, 1))", "one support"),
        ("Mixture(Normal(0, 1), 1)", "plain numbers"),
    ],
)
def test_the_error_says_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        parse_prior(text)
    assert str(error.value).startswith("prior ")


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"omega": "LogNormal(mu, s)", "mu": "Normal(0, 1)"}, "names 's', which has no prior"),
        ({"a": "Normal(b, 1)", "b": "Normal(c, 1)", "c": "Normal(0, 1)"}, "of its own"),
        ({"a": "Uniform(0, b)", "b": "HalfNormal(1)"}, "depends on what is inferred"),
        ({"a": "Normal(0, b)", "b": "Normal(0, 1)"}, "out of range"),
    ],
)
def test_the_error_of_a_hierarchy_says_what_is_wrong(texts: dict[str, str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_priors(texts)


def test_hyperparameters_cannot_be_latents() -> None:
    priors = parse_priors({"omega": "LogNormal(theta0, 1)", "theta0": "Uniform(-1, 1)"})
    with pytest.raises(InputError, match="as a latent or a dimension is"):
        find_system("pendulum").build(priors=priors)


def test_hyperparameters_stand_outside_the_plate_and_their_kl_counts_once() -> None:
    run = new_run(RunConfig("pendulum", 50, "physics-only", priors=HYPER))
    data = find_system("pendulum").source.simulate(20, 0)
    batch = Batch.of(data)
    loss = RegularizedELBO()
    kl = {}
    for size in (10.0, 1e9):
        run.guide.prepare(batch)
        run.guide.population.size = torch.tensor(size)
        torch.manual_seed(0)
        kl[size] = float(loss.terms(run.model, run.guide, batch)["kl"].detach())
    torch.manual_seed(0)
    run.guide.population.size = torch.tensor(1.0)
    once = float(loss.terms(run.model, run.guide, batch)["kl"].detach()) - kl[1e9]
    assert once == pytest.approx(10 * (kl[10.0] - kl[1e9]), rel=0.05, abs=0.02)


def test_a_fit_infers_hyperparameters_and_a_run_keeps_them(tmp_path: Path) -> None:
    options = FitOptions(steps=6, sleep=1, calibrate=1, batch_size=20, validate_every=3)
    usual = find_system("pendulum").variant("physics-only").recipe
    recipe = replace(usual, options=options)
    run = new_run(RunConfig("pendulum", 50, "physics-only", recipe, HYPER))
    data = find_system("pendulum").source.simulate(40, 0)
    before = run.guide.population.centre.detach().clone()
    run.fit = optimize(run.model, run.guide, run.loss(), Batch.of(data), Batch.of(data), options)
    assert float(run.guide.population.size) == 40
    assert not torch.equal(run.guide.population.centre, before)
    run.save(tmp_path / "run")
    again = load_run(tmp_path / "run")
    assert again.config.priors == run.config.priors
    few = PosteriorOptions(draws=30, predictive_draws=10)
    first, second = posterior(run, data, few), posterior(again, data, few)
    for name in ("mu", "s"):
        assert first["posterior"][name].dims == ("chain", "draw")
        np.testing.assert_array_equal(first["posterior"][name], second["posterior"][name])
    assert first["sample_stats"]["log_weight"].shape == (1, 10, 40)
    first.to_netcdf(str(tmp_path / "p.nc"), engine="h5netcdf")
    assert set(az.from_netcdf(str(tmp_path / "p.nc"))["posterior"]) >= {"omega", "mu", "s"}


def test_priors_come_from_a_file_and_list_shows_them(
    tmp_path: Path, small_fit: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    data, file, out = str(tmp_path / "d.npz"), tmp_path / "priors.toml", tmp_path / "run"
    file.write_text(
        'omega = "LogNormal(mu, 0.4)"\nmu = "Normal(0.5, 1)"\ntheta0 = "Uniform(-2, 2)"'
    )
    assert main(["simulate", "pendulum", "--n", "20", "--out", data]) == 0
    command = ["fit", "pendulum", "--variant", "physics-only", "--data", data, "--out", str(out)]
    change = ["--prior", "theta0=Truncated(Normal(0, 1), low=-1.5, high=1.5)"]
    assert main([*command, "--priors", str(file), *change, *small_fit]) == 0
    capsys.readouterr()
    assert main(["list", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "omega ~ LogNormal(loc=mu, scale=0.4)" in shown
    assert "mu ~ Normal(loc=0.5, scale=1.0); inferred, median" in shown
    assert "theta0 ~ Truncated(Normal(loc=0.0, scale=1.0), low=-1.5, high=1.5)" in shown


@pytest.mark.parametrize(
    ("content", "told"),
    [("omega = 3", "is no text"), ("omega =", "is no TOML"), (None, "cannot be read")],
)
def test_a_bad_file_of_priors_is_one_sentence(
    content: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "priors.toml"
    if content is not None:
        file.write_text(content)
    assert main(["fit", "pendulum", "--priors", str(file), "--out", str(tmp_path / "r")]) == 2
    shown = capsys.readouterr().err.strip()
    assert told in shown
    assert "\n" not in shown


def test_log_density_of_the_truncated_is_the_base_s_over_its_mass() -> None:
    prior = parse_prior("Truncated(Normal(0, 1), low=0)")
    at = torch.tensor(0.7)
    assert float(prior.log_prob(at)) == pytest.approx(
        float(dist.Normal(0.0, 1.0).log_prob(at)) + math.log(2), abs=1e-6
    )
