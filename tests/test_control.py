"""Generation from a population: given some latents, like an observation, between two."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from groundvae.cli.main import main
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.pendulum import simulate
from groundvae.diagnostics.generation import compute_generation, generation_metrics
from groundvae.inference import arviz as az
from groundvae.inference.generation import generate
from groundvae.inference.population import Places, Population
from groundvae.inference.run import Run, RunConfig, load_run, new_run
from groundvae.models.wrapped import WrappedMixture

if TYPE_CHECKING:
    from tests.conftest import Tiny


@pytest.fixture(scope="module")
def run(tiny: Tiny) -> Run:
    return load_run(tiny.run)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return simulate(10, 0)


def scores(run: Run, values: np.ndarray, name: str) -> np.ndarray:
    return Places(run, ()).score(name, torch.as_tensor(values).double()).numpy()


def test_what_is_not_chosen_comes_from_its_conditional() -> None:
    run = new_run(RunConfig("pendulum", 50, "physics-only"))
    one = torch.ones(1).double()
    covariance = torch.tensor([[[0.25, 0.2], [0.2, 0.25]]]).double()
    line = torch.tensor([math.inf, math.inf]).double()
    mixture = WrappedMixture(one, torch.zeros(1, 2).double(), covariance, line)
    times = {"t": torch.linspace(0, 1, 50)}
    run.population = Population(mixture, ("omega", "theta0"), (), times, event=(50,))
    places = Places(run, ())
    high = float(places.scores["omega"].value(torch.tensor(0.5).double()))
    made = generate(run, 2000, chosen={"omega": high})["prior"]
    np.testing.assert_allclose(made["omega"], high, rtol=1e-6)
    theta0 = scores(run, made["theta0"].values[0], "theta0")
    assert theta0.mean() == pytest.approx(0.4, abs=0.03)
    assert theta0.std() == pytest.approx(0.3, abs=0.02)


def test_one_observation_has_one_latent_moved_and_all_others_kept(run: Run, data: Dataset) -> None:
    way = np.linspace(1.0, 3.0, 4)
    made = generate(run, 4, like=data.subset(np.array([3])), chosen={"omega": way})
    np.testing.assert_allclose(made["prior"]["omega"].values[0], way, rtol=1e-6)
    for name in ("theta0", "z_aux"):
        values = made["prior"][name].values[0]
        np.testing.assert_array_equal(values, np.broadcast_to(values[0], values.shape))
    assert made.attrs["origin"] == "observation"
    assert np.ptp(made["noiseless"]["x"].values[0, :, -1]) > 0


def test_between_two_observations_latents_go_straight(run: Run, data: Dataset) -> None:
    first, last = (generate(run, 1, like=data.subset(np.array([i])))["prior"] for i in (3, 7))
    made = generate(run, 5, like=data.subset(np.array([3, 7])))["prior"]
    for name in ("omega", "theta0"):
        ends = [scores(run, end[name].values[0], name)[0] for end in (first, last)]
        at = scores(run, made[name].values[0], name)
        np.testing.assert_allclose(at, np.linspace(*ends, 5), atol=0.05)


def test_a_fan_of_curves_and_its_numbers_are_written(tiny: Tiny, tmp_path: Path) -> None:
    command = ["simulate", "pendulum", "--run", str(tiny.run), "--data", str(tiny.data), "--n", "3"]
    command += ["--like", "2", "--vary", "omega=1:3"]
    for name in ("fan.png", "fan.nc"):
        assert main([*command, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "fan.png").read_bytes().startswith(b"\x89PNG")
    stored = az.from_netcdf(str(tmp_path / "fan.nc"))
    np.testing.assert_allclose(stored["prior"]["omega"].values[0], [1, 2, 3], rtol=1e-6)
    assert stored["prior_predictive"]["x"].shape == stored["noiseless"]["x"].shape == (1, 3, 50)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--like", "0", "1", "--vary", "omega=1:3"], "--vary moves a latent of one observation"),
        (["--like", "99"], "--like names observation 99"),
        (["--set", "omega=2", "--vary", "omega=1:3"], "names 'omega' twice"),
        (["--vary", "omega=1"], "expected NAME=LOW:HIGH"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    tiny: Tiny,
    tmp_path: Path,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["simulate", "pendulum", "--run", str(tiny.run), "--data", str(tiny.data)]
    assert main([*command, *arguments, "--out", str(tmp_path / "a.nc")]) == 2
    assert words in capsys.readouterr().err


def test_generation_from_a_run_without_a_population_says_so(data: Dataset) -> None:
    run = new_run(RunConfig("pendulum", 50, "physics-only"))
    with pytest.raises(InputError, match="holds no population"):
        generate(run, 3)
    assert generation_metrics(run, data) == {}


@pytest.mark.slow
def test_generation_is_judged_by_name(run: Run) -> None:
    fresh = simulate(40, 9)
    found = generation_metrics(run, fresh)
    assert found == compute_generation(run, fresh).attrs
    assert found["generation_energy_ratio"] > 0
    assert found["generation_accuracy_low"] <= found["generation_accuracy"]
    assert generation_metrics(run, fresh.subset(np.arange(12))) == {}
