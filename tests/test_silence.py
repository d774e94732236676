"""Nothing is wrong in silence: what a result does not hold for is said, or refused."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import xarray as xr

from groundvae.cli.doubts import warn_of_run, warn_of_unusable
from groundvae.cli.main import main
from groundvae.cli.source import FileRows, read_data
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.galaxy import simulate as galaxies
from groundvae.data.likeness import describe, differences, other_times
from groundvae.data.pendulum import simulate
from groundvae.guides.phase import Ending
from groundvae.inference import arviz as az
from groundvae.inference import plateau
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import load_run
from groundvae.inference.steps import fine_enough
from groundvae.models.intervention import Change
from groundvae.models.ownfile import find_system
from groundvae.physics.solver import RK4

if TYPE_CHECKING:
    from tests.conftest import Tiny

FEW = PosteriorOptions(draws=40, predictive_draws=40)
FEWER = PosteriorOptions(draws=10, predictive_draws=10)


@pytest.fixture(scope="module")
def stored(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> az.InferenceData:
    path = tmp_path_factory.mktemp("stored") / "o.nc"
    save_inference_data(posterior(load_run(tiny.run), simulate(5, seed=1), FEW), path)
    return az.from_netcdf(str(path))


def test_every_dimension_has_a_coordinate_and_it_is_the_same_in_all_groups(
    stored: az.InferenceData,
) -> None:
    found: dict[str, np.ndarray] = {}
    for group in stored.groups():
        for dim, size in stored[group].sizes.items():
            assert dim in stored[group].coords, (group, dim)
            values = stored[group][dim].values
            assert values.dtype.kind != "f" or values.dtype == np.float64
            known = found.setdefault(str(dim), values)
            same = min(len(known), size)
            np.testing.assert_array_equal(known[:same], values[:same])
    np.testing.assert_array_equal(found["time"], simulate(1, seed=1).coordinates["t"])


def test_log_likelihoods_are_of_double_precision(stored: az.InferenceData) -> None:
    assert stored["log_likelihood"]["x"].dtype == np.float64


def test_a_run_says_that_its_fit_did_not_end_well(
    tiny: Tiny, tmp_path: Path, small_posterior: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    run = load_run(tiny.run)
    run.fit = replace(
        run.fit, ending=Ending.DIVERGED, why="at step 7: term 'nll' of the loss is nan"
    )
    run.save(tmp_path / "run")
    command = ["posterior", str(tmp_path / "run"), "--data", str(tiny.data)]
    assert main([*command, "--out", str(tmp_path / "o.nc"), *small_posterior]) == 0
    assert "its fit diverged at step 7" in capsys.readouterr().err


CHANGED = {
    "degrees": (180 / np.pi, 1.0, 0.0, "degrees where it knows radians"),
    "milliseconds": (1.0, 1000.0, 0.0, "thousandths of the unit"),
    "a later start": (1.0, 1.0, 7.0, "t starts at 7 s"),
    "finer": (1.0, 0.4, 0.0, "other steps or another length"),
    "the same": (1.1, 1.0, 0.0, ""),
}


@pytest.mark.parametrize("case", CHANGED)
def test_data_are_compared_with_those_of_the_fit(case: str) -> None:
    size, scale, start, expected = CHANGED[case]
    data = simulate(20, seed=1)
    t = start + scale * data.coordinates["t"]
    told = list(differences(describe(data), Dataset(size * data.x, {"t": t})))
    assert len(told) == (1 if expected else 0)
    assert expected in " ".join(told)


@pytest.mark.parametrize(
    ("times", "other"),
    [
        (0.05 * np.arange(50), False),
        (0.05 * np.arange(25), True),
        (0.04 * np.arange(50), True),
        (0.5 + 0.05 * np.arange(40), True),
    ],
)
def test_other_times_are_told_of_a_guide_that_does_not_search(
    times: np.ndarray, other: bool, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = load_run(tiny.run), Dataset(np.ones((3, len(times))), {"t": times})
    assert other_times(run.config.known, data) == other
    warn_of_run(run, tiny.run, data)
    assert "networks alone" not in capsys.readouterr().err  # it searches
    run.guide = run.guide.first  # type: ignore[assignment, attr-defined]
    warn_of_run(run, tiny.run, data)
    assert ("is networks alone" in capsys.readouterr().err) == other


def test_degrees_are_met_by_the_commands(
    tiny: Tiny, tmp_path: Path, small_posterior: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    data = simulate(20, seed=1)
    replace(data, x=np.degrees(data.x)).save(tmp_path / "d.npz")
    command = ["posterior", str(tiny.run), "--data", str(tmp_path / "d.npz")]
    assert main([*command, "--out", str(tmp_path / "o.nc"), *small_posterior]) == 0
    assert "as degrees where it knows radians are" in capsys.readouterr().err


def test_an_array_that_nobody_uses_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = simulate(4, seed=1)
    np.savez(tmp_path / "d.npz", x=data.x, time=2 * data.coordinates["t"], mass=np.ones(4))
    read_data(tmp_path / "d.npz", find_system("pendulum"))
    told = capsys.readouterr().err
    assert "the array 'time' is as long as the time axis and is not used" in told
    assert "mass" not in told


def test_whole_numbers_of_images_are_scaled_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.clip(galaxies(3, seed=1).x, 0, 1)
    for kind in (np.uint8, np.uint16):
        whole = (x * np.iinfo(kind).max).astype(kind)
        np.savez(tmp_path / "d.npz", x=whole)
        found = read_data(tmp_path / "d.npz", find_system("galaxy")).x
        np.testing.assert_allclose(found, x, atol=1 / 255)
        assert "whole numbers" in capsys.readouterr().err


def test_a_dark_part_of_a_stream_is_scaled_as_the_whole_is(tmp_path: Path) -> None:
    x = (np.clip(galaxies(4, seed=1).x, 0, 1) * 65535).astype(np.uint16)
    x[:2] //= 300  # alone they would pass for bytes
    np.savez(tmp_path / "d.npz", x=x)
    entry = find_system("galaxy")
    rows, whole = FileRows(tmp_path / "d.npz", entry), read_data(tmp_path / "d.npz", entry).x
    for part in (slice(0, 2), slice(2, 4)):
        np.testing.assert_array_equal(rows.subset(part).x, whole[part])


def test_draws_that_run_away_are_counted_and_left_out(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = load_run(tiny.run), simulate(4, seed=1)
    monkeypatch.setattr(
        "groundvae.inference.posterior.fine_enough", lambda *_: contextlib.nullcontext()
    )
    far = posterior(run, data, FEW, changes={"omega": Change(factor=80.0)})
    away = far["constant_data"]["runaway_draws"].values
    assert away.max() > 0
    x = np.abs(far["posterior_predictive"]["x"].values)
    assert not (x > 20 * np.abs(data.x).max()).any()
    usual = posterior(run, data, FEW)["constant_data"]
    assert "runaway_draws" not in usual


def test_a_faster_world_is_solved_with_a_finer_step(tiny: Tiny) -> None:
    """What a step of 0.05 s gives of it is finite, and wrong."""
    run, data, change = load_run(tiny.run), simulate(4, seed=1), {"omega": Change(factor=4.0)}
    usual = run.model.system.solver
    for until in (None, 3.0):
        paths = []
        for solver in (usual, RK4(0.005)):
            run.model.system.solver = solver
            drawn = posterior(run, data, FEWER, changes=change, until=until)
            paths.append(drawn["physics_predictive"]["x"].values)
        assert np.median(np.abs(paths[0] - paths[1])) < 1e-2
    run.model.system.solver = usual
    batch, latents = run.batch(data), {"omega": torch.ones(1, 4)}
    with fine_enough(run.model, batch, batch, latents, {}) as step:
        assert step is None  # nothing was changed


def test_a_world_too_fast_to_solve_is_refused(tiny: Tiny) -> None:
    run, data = load_run(tiny.run), simulate(4, seed=1)
    with pytest.raises(InputError, match=r"no step of 0\.0016 s or above solves the law"):
        posterior(run, data, FEWER, changes={"omega": Change(factor=1e6)})
    assert run.model.system.method.solver.step == 0.05


def test_a_plateau_is_told(tiny: Tiny) -> None:
    assert "plateau" in plateau.told(load_run(tiny.run), simulate(20, seed=2))  # after 24 steps


@pytest.mark.parametrize(("frequency", "told"), [(0.4, True), (4.5, True), (0.0, False)])
def test_errors_with_a_pattern_are_a_plateau(tiny: Tiny, frequency: float, told: bool) -> None:
    """A drive of 4.5 Hz turns its sign from one sample to the next, and is none the less seen."""
    random, times = np.random.default_rng(0), np.arange(50) * 0.05
    left = np.sin(2 * np.pi * (frequency * times + random.uniform(size=(40, 1))))
    errors = random.normal(size=(40, 50)) + 2 * left * (frequency > 0)
    errors[0] = 1e3 * times  # one that is far off says nothing of the fit
    axes = ("chain", "draw", "observation", "time")
    nothing = xr.Dataset({"x": (axes, np.zeros((1, 1, 40, 50)))})
    group = az.InferenceData(posterior_predictive=nothing)
    data = Dataset(errors, {"t": times})
    found = plateau.leftover(load_run(tiny.run), data, group)
    assert (found > plateau.PATTERN) == told


def test_observations_without_a_mode_are_told(
    stored: az.InferenceData, capsys: pytest.CaptureFixture[str]
) -> None:
    constant = stored["constant_data"]
    for found, told in ((True, ""), (False, "no mode was found of 5 of 5 observations")):
        marked = constant.assign({plateau.FOUND: ("observation", np.full(5, found))})
        warn_of_unusable(az.InferenceData(constant_data=marked))
        assert told in capsys.readouterr().err
