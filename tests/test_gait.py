"""Gait: loaders of measured data, the stand-in, learned mechanics, and a tiny fit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat

from groundvae.cli.data import report
from groundvae.cli.main import main
from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.data.gait import (
    COVARIATES,
    TIMES,
    read_gait_npz,
    read_subject,
    read_subjects,
    simulate,
    splits,
)
from groundvae.inference.optimize import optimize
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import RunConfig, new_run
from groundvae.models.greybox import GreyBox
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import FitOptions, Recipe
from groundvae.models.systems import SYSTEMS
from groundvae.models.systems.gait import Gait
from groundvae.models.values import Values
from groundvae.physics.hamiltonian import Separable, drift
from groundvae.physics.solver import Leapfrog, Midpoint

VARIANTS = SYSTEMS["gait"].variants
BY_GRADIENT = [name for name, v in VARIANTS.items() if v.recipe.guide != "modes"]
T = {"t": torch.as_tensor(TIMES, dtype=torch.float32)}
MEASURED = Path(os.environ.get("GROUNDVAE_DATA", "no-such-folder")) / "gait"
measured = pytest.mark.skipif(not MEASURED.is_dir(), reason="no measured gait is here")


PARTS = ("Pelvis", "Hip", "Knee", "Ankle")


def trial(task: str = "Walking", foot: str = "RX", **other: object) -> dict[str, object]:
    made: dict[str, object] = {
        "Task": task,
        "Foot": foot,
        "speed": 1.2,
        "strideLength": 1.1,
        "stepWidth": 0.1,
        "cadence": 120.0,
        "Ang": np.arange(12)[:, None] + np.zeros(101),
    }
    return made | other


ROW_NAMES = [f"{part}{way}" for part in PARTS for way in ("Flx", "Add", "Rot")]


def save_subject(path: Path, *trials: dict[str, object], names: list[str] | None = None) -> Path:
    rows = ROW_NAMES if names is None else names
    savemat(path, {"s": {"name": "S", "AngVarName": rows, "Data": list(trials)}})
    return path


def arrays(n: int = 4) -> dict[str, np.ndarray]:
    made: dict[str, np.ndarray] = {}
    for split in ("train", "valid", "test"):
        made[f"angles_{split}"] = simulate(n, 0).x
        made |= {f"{k}_{split}": np.ones(n, np.float32) for k in COVARIATES}
    return made


@measured
def test_measured_strides_are_read_from_both_kinds_of_file() -> None:
    parts = read_gait_npz(MEASURED / "gait.npz")
    assert {k: len(v) for k, v in parts.items()} == {"train": 400, "valid": 100, "test": 172}
    strides = read_subjects(MEASURED / "raw")
    assert len(strides) == 6
    known = np.concatenate([part.x for part in parts.values()])
    distance = np.abs(known[None] - strides.x[:, None]).max((2, 3)).min(1)
    assert int((distance < 1e-6).sum()) == 5  # the sixth is among those kept apart
    assert strides.truth["speed"][0] == pytest.approx(1.302719)


def test_walking_trials_of_all_subjects_are_found_with_their_covariates(tmp_path: Path) -> None:
    save_subject(tmp_path / "Subject2.mat", trial(), trial("StepUp"), trial(foot="LX"))
    save_subject(tmp_path / "Subject10.mat", trial(speed=0.9))
    strides = read_subjects(tmp_path)
    np.testing.assert_allclose(strides.x[0, 0], np.deg2rad([3, 6, 9]), rtol=1e-6)
    np.testing.assert_array_equal(strides.truth["foot"], [0, 1, 0])
    np.testing.assert_array_equal(strides.truth["speed"], [1.2, 1.2, 0.9])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda p: savemat(p, {"s": {"name": "S"}}), "no struct 's' with trials"),
        (lambda p: savemat(p, {"other": 1.0}), "no struct 's' with trials"),
        (lambda p: savemat(p, {"s": {"Data": [{"a": 1}]}}), "no struct 's' with trials"),
        (lambda p: save_subject(p, trial("StepUp")), "no trial of the task 'Walking'"),
        (lambda p: save_subject(p, trial(Ang=np.ones((12, 50)))), r"expected \(12, 101\)"),
        (lambda p: save_subject(p, trial(Ang=np.ones((12, 101)))), "expected degrees"),
        (
            lambda p: save_subject(p, trial(), names=ROW_NAMES[::-1]),
            "are not named HipFlx",
        ),
        (lambda p: save_subject(p, trial(Foot="?")), "a walking trial cannot be read"),
        (lambda p: save_subject(p, trial(speed="fast")), "a walking trial cannot be read"),
        (lambda p: save_subject(p, trial(Ang=np.full((12, 101), np.nan))), "not all finite"),
        (lambda p: p.write_bytes(b"not MATLAB at all" * 20), "cannot be read as a MATLAB"),
        (lambda p: p.write_bytes(b""), "cannot be read as a MATLAB"),
    ],
)
def test_a_file_that_is_no_subject_is_refused_in_one_sentence(
    bad: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "Subject1.mat"
    bad(path)
    with pytest.raises(InputError, match=reason) as refusal:
        read_subject(path)
    assert "\n" not in str(refusal.value)


def test_a_covariate_that_was_not_measured_is_missing(tmp_path: Path) -> None:
    without = trial()
    del without["cadence"]
    strides = read_subject(save_subject(tmp_path / "Subject1.mat", trial(), without))
    np.testing.assert_array_equal(np.isnan(strides.truth["cadence"]), [False, True])


@measured
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda s: s.pop("Data"), "no struct 's' with trials"),
        (lambda s: s.update(AngVarName=ROW_NAMES[::-1]), "are not named"),
        (lambda s: s.update(Data=[trial(Ang=np.ones((12, 7)))]), "expected (12, 101)"),
    ],
)
def test_damaged_copies_of_a_published_file_end_the_fit_in_one_sentence(
    damage: Callable[[dict[str, object]], object],
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    published = loadmat(MEASURED / "raw" / "Subject25.mat", simplify_cells=True)["s"]
    content = {k: published[k] for k in ("name", "AngVarName", "Data")}
    damage(content)
    savemat(tmp_path / "Subject25.mat", {"s": content})
    out = tmp_path / "run"
    assert main(["fit", "gait", "--root", str(tmp_path), "--out", str(out)]) == 2
    said = capsys.readouterr().err.strip()
    assert reason in said
    assert said.count("\n") == 0
    assert not out.exists()


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_truncated_subject_is_refused(share: float, tmp_path: Path) -> None:
    content = save_subject(tmp_path / "whole.mat", trial(), trial()).read_bytes()
    path = tmp_path / "Subject1.mat"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError):
        read_subject(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"angles_valid": np.zeros((4, 50, 3), np.float32)}, "angles have shape"),
        ({"angles_train": np.full((4, 101, 3), np.nan, np.float32)}, "not all finite"),
        ({"angles_train": np.full((4, 101, 3), 30.0, np.float32)}, "expected radians"),
        ({"angles_train": np.full((4, 101, 3), "a")}, "not all finite"),
        ({"speed_test": np.ones(3, np.float32)}, "speed has shape"),
        ({"speed_test": np.full(4, "fast")}, "speed is of type"),
        ({"angles_test": None}, "no array 'angles_test'"),
    ],
)
def test_a_damaged_npz_is_refused_in_one_sentence(
    change: dict[str, np.ndarray | None], reason: str, tmp_path: Path
) -> None:
    kept = {k: v for k, v in (arrays() | change).items() if v is not None}
    path = tmp_path / "gait.npz"
    np.savez(path, allow_pickle=False, **kept)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=reason):
        read_gait_npz(path)


def test_a_truncated_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gait.npz"
    np.savez(path, allow_pickle=False, **arrays())  # type: ignore[arg-type]
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot be read"):
        read_gait_npz(path)


@measured
@pytest.mark.parametrize("share", [0.1, 0.7])
def test_truncated_copies_of_the_published_files_are_refused(share: float, tmp_path: Path) -> None:
    for name in ("Subject25.mat", "Subject36.mat"):
        content = (MEASURED / "raw" / name).read_bytes()
        path = tmp_path / name
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError):
            read_subject(path)


def test_data_are_looked_for_in_root_then_variable_then_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GROUNDVAE_DATA", raising=False)
    assert splits().stand_in
    assert "STAND-IN" in splits().source
    for name, n in (("cache/groundvae", 2), ("named", 3), ("root", 4)):
        folder = tmp_path / name / "gait"
        folder.mkdir(parents=True)
        np.savez(folder / "gait.npz", allow_pickle=False, **arrays(n))  # type: ignore[arg-type]
    assert len(splits().train) == 2
    monkeypatch.setenv("GROUNDVAE_DATA", str(tmp_path / "named"))
    assert len(splits().train) == 3
    assert len(splits(tmp_path / "root").train) == 4
    assert not splits(tmp_path / "root" / "gait").stand_in
    shutil.rmtree(tmp_path / "root" / "gait")
    with pytest.raises(InputError, match="neither gait"):
        splits(tmp_path / "root")


def test_the_data_command_names_what_is_missing_and_its_source(tmp_path: Path) -> None:
    save_subject(tmp_path / "Subject1.mat", *[trial()] * 8)
    text = "\n".join(report(find_system("gait"), tmp_path))
    assert "Subject1.mat" in text
    assert "gait.npz: missing" in text
    assert "figshare" in text
    assert "8 strides" in text
    assert "is simulated" in next(report(find_system("pendulum"), None))


def decoding(model: GreyBox) -> list[tuple[str, torch.nn.Parameter]]:
    """The parameters of a decoder: all but the noise's."""
    return [(k, v) for k, v in model.named_parameters() if not k.startswith("noise.")]


def law(system: Gait) -> Separable:
    """Hamilton's equations, as a solver reads them."""
    nothing = Values({}, "latent")
    field = system.field(nothing, Values({}, "input"), ())
    assert isinstance(field, Separable)
    return field


def test_the_written_out_force_is_the_gradient_of_the_energy() -> None:
    torch.manual_seed(0)
    mechanics = Gait().double()
    state = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    energy = mechanics.energy(state, Values({}, "latent"))
    (slope,) = torch.autograd.grad(energy.sum(), state)
    q, p = slope.chunk(2, -1)
    moved = law(mechanics)(torch.tensor(0.0), state)
    torch.testing.assert_close(moved, torch.cat([p, -q], -1))


def test_leapfrog_keeps_the_energy_that_midpoint_loses() -> None:
    torch.manual_seed(0)
    mechanics = Gait().double()
    with torch.no_grad():
        mechanics.hamiltonian.height.mul_(30.0)  # far from an oscillator
    start = torch.randn(20, 6, dtype=torch.float64)
    times = 0.02 * torch.arange(1001, dtype=torch.float64)
    field, energy = law(mechanics), mechanics.hamiltonian
    with torch.no_grad():
        kept = drift(energy(Leapfrog(0.02)(field, start, times)).T)
        lost = drift(energy(Midpoint(0.02)(field, start, times)).T)
    assert float(kept.max()) < 0.03
    assert float(lost.mean()) > 5 * float(kept.mean())


def test_leapfrog_takes_the_same_steps_for_a_separable_field() -> None:
    torch.manual_seed(0)
    field = law(Gait())
    start, times = torch.randn(3, 6), 0.02 * torch.arange(30)
    plain = Leapfrog(0.02)(lambda t, y: field(t, y), start, times)
    torch.testing.assert_close(Leapfrog(0.02)(field, start, times), plain)


@pytest.mark.parametrize("variant", BY_GRADIENT)
def test_every_variant_decodes_and_reaches_all_its_parameters(variant: str) -> None:
    torch.manual_seed(0)
    system = VARIANTS[variant].build()
    z = {name: torch.randn(2) for name in system.latents.names}
    auxiliary = torch.randn(2, system.auxiliary) if system.auxiliary else None
    decoded = system.decode(z, auxiliary, T)
    assert decoded.full.shape == (2, 101, 3)
    assert (decoded.physics is not None) == system.system.physics
    decoded.full.pow(2).sum().backward()
    for name, parameter in decoding(system):
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert float(parameter.grad.abs().max()) > 0, name


def test_a_tiny_fit_ends_in_a_posterior() -> None:
    options = FitOptions(steps=3, batch_size=10, validate_every=3)
    run = new_run(RunConfig("gait", 101, recipe=Recipe(options=options)))
    train, valid = simulate(30, 1), simulate(10, 2)
    run.fit = optimize(
        run.model, run.guide, run.loss(), Batch.of(train), Batch.of(valid), run.config.options
    )
    assert run.fit.stop == "finished"
    drawn = posterior(run, valid, PosteriorOptions(draws=6, predictive_draws=3), until=2.5)
    predicted = drawn["posterior_predictive"]["x"]
    assert predicted.dims[-2:] == ("time", "joint")
    assert predicted.shape == (1, 3, 10, 126, 3)
    assert bool(np.isfinite(predicted).all())
