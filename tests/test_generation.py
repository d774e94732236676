"""Generation from chosen latents, contact sheets, and what a stand-in leaves behind."""

from __future__ import annotations

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from groundvae.cli.main import main
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.gait import simulate as simulate_gait
from groundvae.data.galaxy import simulate
from groundvae.data.pendulum import simulate as simulate_pendulum
from groundvae.data.root import STAND_IN
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.diagnose import diagnose
from groundvae.diagnostics.energy import Energy
from groundvae.diagnostics.reconstruction import Reconstruction
from groundvae.diagnostics.summary import summarize
from groundvae.inference.generation import generate
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, RunConfig, new_run
from groundvae.models.ownfile import find_system

pytestmark = pytest.mark.usefixtures("few_simulations")
FEW = PosteriorOptions(draws=6, predictive_draws=4)


def unfitted(system: str, data: Dataset, source: str = "") -> Run:
    variant = "hybrid-told" if system == "pendulum" else "hybrid-reg"
    run = new_run(RunConfig(system, data.x.shape[1], variant, trained_on=source))
    run.guide.prepare(Batch.of(data))
    return run


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("galaxies") / "run"
    unfitted("galaxy", simulate(6, 1)).save(folder)
    return folder


def test_a_contact_sheet_is_written_for_chosen_latents(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    command = ["simulate", "galaxy", "--run", str(saved), "--n", "3"]
    assert main([*command, "--set", "position_angle=0.5"]) == 0
    assert main([*command, "--out", str(out), "--set", "position_angle=0.5"]) == 0
    assert (saved / "sheet.png").read_bytes() == out.read_bytes()
    assert out.read_bytes().startswith(b"\x89PNG")


def test_generated_data_carry_the_latents_that_were_chosen(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "data.npz"
    command = ["simulate", "galaxy", "--run", str(saved), "--n", "3", "--out", str(out)]
    assert main([*command, "--set", "position_angle=4.0", "ellipticity=0.7"]) == 0
    with np.load(out) as written:
        np.testing.assert_allclose(written["position_angle"], 4.0 - math.pi, rtol=1e-5)
        np.testing.assert_allclose(written["ellipticity"], 0.7, rtol=1e-6)
        assert np.ptp(written["semi_axis"]) > 0
        assert written["x"].shape == (3, 69, 69, 3)


def test_chosen_series_follow_their_latent() -> None:
    pendulum = unfitted("pendulum", simulate_pendulum(4, 0))
    made = generate(pendulum, 5, origin="prior", chosen={"omega": 2.0})
    np.testing.assert_array_equal(made["prior"]["omega"], 2.0)
    assert made["noiseless"]["x"].shape == made["prior_predictive"]["x"].shape == (1, 5, 50)
    again = generate(pendulum, 5, origin="prior", chosen={"omega": 2.0})
    xr.testing.assert_equal(again["prior_predictive"], made["prior_predictive"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "ellipticity=1.5"], "expected values between 0 and 0.999"),
        (["--set", "speed=1"], "no physics latent 'speed'"),
        (["--set", "ellipticity*=2"], "expected NAME=NUMBER"),
    ],
)
def test_what_cannot_be_set_is_refused(
    saved: Path,
    tmp_path: Path,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "sheet.png"
    command = ["simulate", "galaxy", "--run", str(saved), "--n", "2", "--out", str(out)]
    assert main([*command, *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_series_have_no_contact_sheet_and_a_simulator_no_settings(tmp_path: Path) -> None:
    assert main(["simulate", "gait", "--out", str(tmp_path / "a.png")]) == 2
    chosen = ["--set", "omega=2", "--out", str(tmp_path / "a.npz")]
    assert main(["simulate", "pendulum", *chosen]) == 2


def test_found_data_are_written_as_one_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "Galaxy10.h5", "w") as content:
        content["images"] = (255 * simulate(18, 0).x).astype(np.uint8)
        content["ans"] = np.arange(18) % 3 + 4
    out = tmp_path / "data.npz"
    command = ["data", "galaxy", "--root", str(tmp_path), "--out", str(out)]
    assert main([*command, "--number", "5"]) == 0
    with np.load(out) as written:
        assert written["x"].shape == (6, 69, 69, 3)
    assert main([*command, "--number", "77"]) == 2
    assert main(["data", "pendulum", "--out", str(out)]) == 2


def test_a_run_on_a_stand_in_says_so_everywhere(tmp_path: Path) -> None:
    data = simulate_gait(6, 0)
    run = unfitted("gait", data, f"{STAND_IN}, no measured gait was found")
    diagnose(run, posterior(run, data, FEW), tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["stand_in"] == 1
    first = json.loads((tmp_path / "verdicts.json").read_text())["verdicts"][0]
    assert (first["name"], first["level"]) == ("measured data", "bad")
    assert STAND_IN in (tmp_path / "report.html").read_text()
    assert (tmp_path / "energy.png").is_file()


def test_a_run_on_measurements_diagnosed_on_a_stand_in_says_so(tmp_path: Path) -> None:
    data = simulate_pendulum(6, 0)
    run = unfitted("pendulum", data, "measured, by hand")
    drawn = posterior(run, data, FEW)
    drawn.attrs["source"] = f"{STAND_IN}, nothing measured was found"
    diagnose(run, drawn, tmp_path)
    first = json.loads((tmp_path / "verdicts.json").read_text())["verdicts"][0]
    assert (first["name"], first["level"]) == ("measured data", "bad")
    assert "was not diagnosed on measurements" in first["meaning"]


@pytest.mark.slow
def test_a_run_on_measurements_is_not_marked(tmp_path: Path) -> None:
    data = simulate(4, 0)
    run = unfitted("galaxy", data, "measured, edge_on.npz")
    diagnose(run, posterior(run, data, FEW), tmp_path)
    assert "stand_in" not in json.loads((tmp_path / "metrics.json").read_text())
    assert STAND_IN not in (tmp_path / "report.html").read_text()
    assert (tmp_path / "reconstruction.png").is_file()


def test_energy_is_level_along_the_paths_of_physics_alone() -> None:
    data = simulate_gait(5, 0)
    run = unfitted("gait", data)
    result = Energy().compute(Context(run, posterior(run, data, FEW)))
    assert float(result["drift"].max()) < 0.05
    assert 0.3 < result.attrs["share"] <= 1
    assert len(Energy().plot(result).axes) == 2  # the map and its scale


@pytest.mark.parametrize("system", ["advection_diffusion", "gait", "galaxy"])
def test_every_kind_of_observation_has_its_figure(system: str) -> None:
    data = find_system(system).source.simulate(5, 0)
    run = unfitted(system, data)
    check = Reconstruction()
    figure = check.plot(check.compute(Context(run, posterior(run, data, FEW))))
    panels = {"advection_diffusion": 4 * 4 + 2, "gait": 4 * 3, "galaxy": 3 * 8}
    assert len(figure.axes) == panels[system]


def test_summaries_cross_the_seam() -> None:
    rng = np.random.default_rng(0)
    draws = (0.05 * rng.normal(size=(1, 4000, 3)) + np.array([0.0, 1.0, math.pi])) % math.pi
    variable = xr.Variable(("chain", "draw", "observation"), draws, {"period": math.pi})
    found = summarize(xr.Dataset({"angle": variable}))["angle"]
    np.testing.assert_allclose(found.sel(statistic="sd"), 0.05, rtol=0.1)
    mean = found.sel(statistic="mean").values
    assert ((mean >= 0) & (mean < math.pi)).all()
    width = found.sel(statistic="high") - found.sel(statistic="low")
    np.testing.assert_allclose(width, 2 * 1.645 * 0.05, rtol=0.1)
