"""Observations that a run does not know are marked; ordinary ones are at the nominal rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import betabinom

from groundvae.cli.main import main
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.pendulum import TIMES, simulate
from groundvae.diagnostics.outofdistribution import (
    OutOfDistribution,
    compute_outofdistribution,
)
from groundvae.inference import arviz as az
from groundvae.inference.outofdistribution import RATE, conformal_threshold, learn_reference, mark
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, RunConfig, load_run, new_run

FEW = PosteriorOptions(draws=5, predictive_draws=5)


@pytest.fixture(scope="module")
def run() -> Run:
    """Unfitted: conformal thresholds hold for any score, a bad one is only blind."""
    run = new_run(RunConfig("pendulum", len(TIMES), "hybrid-told"))
    train, valid = Batch.of(simulate(300, 1)), Batch.of(simulate(500, 2))
    run.guide.prepare(train)
    run.ood_reference = learn_reference(run.model, run.guide, train, valid)
    return run


def shifted(kind: str) -> Dataset:
    data = simulate(100, 4)
    rng = np.random.default_rng(0)
    x = {
        "offset": data.x + 3.0,
        "scaled": 4.0 * data.x,
        "noisy": data.x + rng.normal(size=data.x.shape),
        "square": np.sign(np.sin(40 * TIMES)) + 0 * data.x,
    }[kind]
    return Dataset(x.astype(np.float32), data.coordinates)


def test_ordinary_observations_are_marked_at_the_nominal_rate(run: Run) -> None:
    marked = posterior(run, simulate(1000, 5), FEW)["constant_data"]
    assert marked["out_of_distribution"].dtype == bool
    assert marked["out_of_distribution"].sizes == {"observation": 1000}
    # Two scores, each with 2 of 501 places above its threshold.
    allowed = sum(betabinom.ppf(0.9995, 1000, 2, 499) for _ in range(2))
    assert int(marked["out_of_distribution"].sum()) <= allowed
    assert OutOfDistribution().judge(compute_outofdistribution(marked)).level == "good"


@pytest.mark.parametrize("kind", ["offset", "scaled", "noisy", "square"])
def test_shifted_observations_are_marked(run: Run, kind: str) -> None:
    marked = posterior(run, shifted(kind), FEW)["constant_data"]
    assert float(marked["out_of_distribution"].mean()) > 0.5  # four times a small swing is a swing
    assert OutOfDistribution().judge(compute_outofdistribution(marked)).level == "bad"


def test_over_many_draws_the_rate_is_the_nominal_one() -> None:
    rng = np.random.default_rng(1000)
    shares = []
    for _ in range(300):
        known = {k: rng.standard_t(3, size=500) for k in ("surprise", "feature_distance")}
        new = {k: rng.standard_t(3, size=500) for k in known}
        shares.append(float(mark(new, known)["out_of_distribution"].mean()))
    assert np.mean(shares) <= RATE
    assert np.mean(shares) == pytest.approx(2 * 2 / 501, rel=0.15)


def test_too_few_known_observations_mark_nothing() -> None:
    assert conformal_threshold(np.arange(19.0), 0.01) == (np.inf, 0.0)
    marked = mark({"surprise": np.array([1e9, np.inf])}, {"surprise": np.arange(19.0)})
    assert not marked["out_of_distribution"].any()
    assert OutOfDistribution().judge(compute_outofdistribution(marked)).level == "not enough data"


def test_a_run_remembers_its_data(run: Run, tmp_path: Path) -> None:
    run.save(tmp_path / "run")
    again = load_run(tmp_path / "run")
    assert again.ood_reference is not None
    assert run.ood_reference is not None
    for name, value in vars(run.ood_reference).items():
        assert torch.equal(getattr(again.ood_reference, name), value)
    replace(run, ood_reference=None).save(tmp_path / "old")
    old = load_run(tmp_path / "old")
    assert "out_of_distribution" not in posterior(old, simulate(3, 0), FEW)["constant_data"]


def test_gaps_do_not_make_an_observation_novel(run: Run) -> None:
    data = simulate(200, 6)
    x = np.array(data.x)
    x[:, 20:25] = np.nan
    marked = posterior(run, Dataset(x, data.coordinates), FEW)["constant_data"]
    assert float(marked["out_of_distribution"].mean()) < 0.05


def test_posterior_warns_and_marks(
    tmp_path: Path,
    small_fit: tuple[str, ...],
    small_posterior: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, odd, out = tmp_path / "data.npz", tmp_path / "odd.npz", tmp_path / "post.nc"
    folder = str(tmp_path / "run")
    simulate(150, 7).save(data)
    shifted("offset").subset(slice(20)).save(odd)
    fit = ["fit", "pendulum", "--variant", "hybrid-told", "--data", str(data), "--out", folder]
    assert main([*fit, *small_fit]) == 0
    capsys.readouterr()
    assert main(["posterior", folder, "--data", str(odd), "--out", str(out), *small_posterior]) == 0
    told = capsys.readouterr().err
    assert "WARNING: 20 of 20 observations are unlike" in told
    assert told.count("are unlike") == 1
    stored = az.from_netcdf(str(out))["constant_data"]["out_of_distribution"]
    assert stored.dtype == bool
    assert bool(stored.all())
