"""The commands from end to end, on a tiny fit."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tyro
import xarray as xr

from groundvae.cli import source
from groundvae.cli.commands import Fit
from groundvae.cli.fit import recipe_of
from groundvae.cli.main import main
from groundvae.guides.catalogue import GUIDES
from groundvae.inference import arviz as az
from groundvae.inference.run import load_run
from groundvae.models.recipe import FitOptions
from groundvae.models.systems import SYSTEMS

if TYPE_CHECKING:
    from tests.conftest import Tiny

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {
    "posterior",
    "posterior_predictive",
    "physics_predictive",
    "prior",
    "prior_predictive",
    "log_likelihood",
    "sample_stats",
    "observed_data",
    "constant_data",
    "residuals",
}
METRICS = ["reconstruction_sse", "reconstruction_mae", "elbo"]
METRICS += ["omega_mae", "omega_crps", "omega_cov50", "omega_cov90"]


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_typed_option_is_kept_and_others_are_the_system_s_own(name: str) -> None:
    """Also one that is typed as large as the usual one is."""
    entry, usual = SYSTEMS[name], FitOptions()
    own = entry.variant().recipe.options
    for typed in ({}, {"steps": usual.steps}, {"sleep": usual.sleep, "batch_size": 7}):
        words = [word for k, v in typed.items() for word in (f"--{k.replace('_', '-')}", str(v))]
        command = tyro.cli(Fit, args=[name, *words])
        options = recipe_of(command, entry).options
        assert options == replace(own, **typed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def stored(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> az.InferenceData:
    out = tmp_path_factory.mktemp("posterior") / "post.nc"
    options = ["--draws", "20", "--predictive-draws", "10", "--threads", "1"]
    command = ["posterior", str(tiny.run), "--data", str(tiny.data), "--out", str(out)]
    assert main([*command, *options]) == 0
    return az.from_netcdf(str(out))


@pytest.fixture(scope="module")
def diagnosed(tiny: Tiny, few_simulations: None) -> Path:
    options = ["--draws", "20", "--predictive-draws", "10", "--threads", "1"]
    assert main(["diagnose", str(tiny.run), "--data", str(tiny.data), *options]) == 0
    return tiny.run


def predict(tiny: Tiny, out: Path, *options: str) -> az.InferenceData:
    few = ["--draws", "10", "--predictive-draws", "5", "--threads", "1"]
    command = ["predict", str(tiny.run), "--data", str(tiny.data), "--out", str(out)]
    assert main([*command, *few, *options]) == 0
    return az.from_netcdf(str(out))


def test_simulate_repeats_by_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = str(tmp_path / f"{name}.npz")
        assert main(["simulate", "pendulum", "--n", "3", "--seed", str(seed), "--out", out]) == 0
    a, b, c = (np.load(tmp_path / f"{name}.npz") for name in "abc")
    assert set(a.files) == {"x", "t", "omega", "gamma", "amplitude", "frequency", "theta0"}
    assert all(np.array_equal(a[name], b[name]) for name in a.files)
    assert not np.array_equal(a["omega"], c["omega"])


def test_fit_leaves_four_plain_files(tiny: Tiny) -> None:
    names = {path.name for path in tiny.run.iterdir()}
    assert {"config.json", "weights.safetensors", "history.csv", "fit.json"} <= names
    assert not [path for path in tiny.run.parent.iterdir() if path.name.startswith(".")]
    config = json.loads((tiny.run / "config.json").read_text())
    assert config["variant"] == "hybrid-told"
    assert config["priors"]["omega"] == "Uniform(low=0.392, high=3.53)"
    facts = json.loads((tiny.run / "fit.json").read_text())
    assert facts["ending"] == "finished"
    assert facts["steps"] == 12 + 6 + 6  # asleep, awake, calibration


def test_history_names_every_term(tiny: Tiny) -> None:
    with (tiny.run / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["step"]) for row in rows] == [3, 6, 9, 12, 15, 18, 21, 24]
    terms = {"nll", "kl", "ppc", "unmix", "physics_simulation", "hybrid_simulation", "loss"}
    terms |= {"valid_elbo", "seconds"}
    awake = [row["step"] for row in rows if all(row[name] for name in terms)]
    assert awake == ["15.0", "18.0"]


def test_the_same_fit_twice_is_the_same(
    tiny: Tiny, tmp_path: Path, small_fit: tuple[str, ...]
) -> None:
    again = tmp_path / "again"
    command = ["fit", "pendulum", "--variant", "hybrid-told", "--data", str(tiny.data)]
    assert main([*command, "--out", str(again), *small_fit]) == 0
    name = "weights.safetensors"
    assert (again / name).read_bytes() == (tiny.run / name).read_bytes()


def test_overwrite_replaces_a_run(tiny: Tiny, tmp_path: Path, small_fit: tuple[str, ...]) -> None:
    command = [
        "fit",
        "pendulum",
        "--data",
        str(tiny.data),
        "--out",
        str(tmp_path / "r"),
        *small_fit,
    ]
    assert main([*command, "--variant", "physics-only"]) == 0
    assert main([*command, "--variant", "physics-only", "--overwrite"]) == 0
    assert load_run(tmp_path / "r").config.variant == "physics-only"
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_posterior_has_every_group(stored: az.InferenceData) -> None:
    assert set(stored.groups()) == GROUPS


def test_posterior_dims_are_named_after_the_axes(stored: az.InferenceData) -> None:
    lead = ("chain", "draw", "observation")
    assert stored["posterior"]["omega"].dims == lead
    assert stored["posterior"]["z_aux"].dims == (*lead, "z_aux_dim")
    for group in ("posterior_predictive", "physics_predictive", "log_likelihood"):
        assert stored[group]["x"].dims == (*lead, "time")
    assert stored["sample_stats"]["log_weight"].dims == lead
    assert stored["prior"]["omega"].dims == ("chain", "draw")
    assert stored["prior_predictive"]["x"].dims == ("chain", "draw", "time")
    assert stored["observed_data"]["x"].dims == ("observation", "time")


def test_posterior_sizes_and_coordinates(tiny: Tiny, stored: az.InferenceData) -> None:
    data = np.load(tiny.data)
    assert dict(stored["posterior"]["omega"].sizes) == {"chain": 1, "draw": 20, "observation": 40}
    assert stored["posterior_predictive"].sizes["draw"] == 10
    np.testing.assert_array_equal(stored["posterior"]["observation"], np.arange(40))
    np.testing.assert_allclose(stored["posterior_predictive"]["time"], data["t"], atol=1e-6)
    np.testing.assert_array_equal(stored["observed_data"]["x"], data["x"])


def test_posterior_units_and_truth(tiny: Tiny, stored: az.InferenceData) -> None:
    units = {name: stored["posterior"][name].attrs["units"] for name in ("omega", "theta0")}
    assert units == {"omega": "rad/s", "theta0": "rad"}
    assert stored["observed_data"]["x"].attrs["units"] == "rad"
    np.testing.assert_array_equal(stored["constant_data"]["omega"], np.load(tiny.data)["omega"])


def test_posterior_draws_stay_within_the_prior(stored: az.InferenceData) -> None:
    omega = stored["posterior"]["omega"]
    assert 0.392 <= float(omega.min()) <= float(omega.max()) <= 3.53


def test_posterior_repeats_by_seed(
    tiny: Tiny, stored: az.InferenceData, tmp_path: Path, small_posterior: tuple[str, ...]
) -> None:
    command = ["posterior", str(tiny.run), "--data", str(tiny.data), *small_posterior]
    assert main([*command, "--out", str(tmp_path / "same.nc")]) == 0
    assert main([*command, "--out", str(tmp_path / "other.nc"), "--seed", "1"]) == 0
    same, other = (az.from_netcdf(str(tmp_path / f"{n}.nc")) for n in ("same", "other"))
    xr.testing.assert_equal(stored["posterior"], same["posterior"])
    assert not stored["posterior"]["omega"].equals(other["posterior"]["omega"])


def test_the_no_op_leaves_predictions_identical(tiny: Tiny, tmp_path: Path) -> None:
    plain = predict(tiny, tmp_path / "a.nc")
    same = predict(tiny, tmp_path / "b.nc", "--do", "omega*=1", "theta0+=0")
    for group in ("posterior", "posterior_predictive", "physics_predictive"):
        xr.testing.assert_equal(plain[group], same[group])


def test_an_intervention_changes_only_what_follows(tiny: Tiny, tmp_path: Path) -> None:
    plain = predict(tiny, tmp_path / "a.nc")
    twice = predict(tiny, tmp_path / "b.nc", "--do", "omega*=2")
    np.testing.assert_allclose(
        twice["posterior"]["omega"], 2 * plain["posterior"]["omega"], rtol=1e-6
    )
    xr.testing.assert_equal(twice["posterior"]["theta0"], plain["posterior"]["theta0"])
    moved = abs(twice["physics_predictive"]["x"] - plain["physics_predictive"]["x"])
    assert float(moved.isel(time=0).max()) < 1e-5 < float(moved.isel(time=20).max())


def test_until_carries_the_times_on(tiny: Tiny, tmp_path: Path) -> None:
    plain = predict(tiny, tmp_path / "a.nc")
    longer = predict(tiny, tmp_path / "b.nc", "--until", "3.0")
    times = longer["posterior_predictive"]["time"].values
    np.testing.assert_allclose(times, 0.05 * np.arange(61), atol=1e-5)
    xr.testing.assert_allclose(
        longer["physics_predictive"]["x"].isel(time=slice(50)).drop_vars("time"),
        plain["physics_predictive"]["x"].drop_vars("time"),
        atol=1e-4,
    )


def test_metrics_are_flat_and_complete(diagnosed: Path) -> None:
    metrics = json.loads((diagnosed / "metrics.json").read_text())
    assert set(METRICS) <= metrics.keys()
    numbers = {k: v for k, v in metrics.items() if not k.startswith("answer_")}
    assert all(isinstance(value, float | int) for value in numbers.values())
    assert len(metrics) == len(numbers) + 5
    assert all(np.isfinite(metrics[name]) for name in METRICS)
    assert 0 <= metrics["omega_cov50"] <= metrics["omega_cov90"] <= 1


class Page(HTMLParser):
    """Attributes of every tag of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_report_is_self_contained(diagnosed: Path) -> None:
    text = (diagnosed / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) >= 2
    for image in images:
        assert str(image["src"]).startswith("data:image/")
        assert len(str(image["alt"])) > 20
    links = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
    assert all(str(link).startswith(("data:", "#")) for link in links)
    assert not re.search(r"https?://|url\(", re.sub(r"data:[^\"]*", "", text))


def test_the_report_tells_every_metric(diagnosed: Path) -> None:
    text = (diagnosed / "report.html").read_text(encoding="utf-8")
    assert all(name in text for name in METRICS)


@pytest.mark.parametrize("name", ["reconstruction.png", "recovery_omega.png"])
def test_figures_are_png(diagnosed: Path, name: str) -> None:
    assert (diagnosed / name).read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size_and_seed in {"TRAIN": (20, 1), "VALID": (10, 2), "TEST": (12, 3)}.items():
        monkeypatch.setattr(source, name, size_and_seed)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.usefixtures("small_splits")
def test_compare_tells_a_failed_cell_and_goes_on_where_it_stopped(
    tmp_path: Path, small_fit: tuple[str, ...]
) -> None:
    out = tmp_path / "table"
    # nn-only has no omega to give a prior: that cell fails.
    prior = "omega=LogNormal(0.5, 0.4)"
    command = ["compare", "pendulum", "--out", str(out), "--seeds", "0", *small_fit]
    command += ["--variants", "nn-only", "physics-only", "--priors", prior]
    assert main(command) == 0
    failed, good = table(out)
    assert "no physics latent 'omega'" in failed["failure"]
    assert (good["failure"], good["told"]) == ("", "nothing")
    assert all(np.isfinite(float(good[name])) for name in METRICS)
    assert (out / "table.md").read_text().count("\n") == 4
    weights = list(out.glob("*/weights.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights]
    assert len(weights) == 1
    assert main(command) == 0
    assert [path.stat().st_mtime_ns for path in weights] == before
    assert table(out)[1] == good


@pytest.mark.usefixtures("small_splits")
def test_compare_knows_a_cell_by_all_that_makes_it(
    tmp_path: Path, small_fit: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["compare", "pendulum", "--out", str(tmp_path), "--seeds", "0", *small_fit]
    command += ["--variants", "physics-only"]
    assert main(command) == 0
    (first,) = table(tmp_path)
    assert main([*command, "--learning-rate", "0.01"]) == 0  # other options
    monkeypatch.setattr(source, "TEST", (12, 4))  # other data
    assert main(command) == 0
    (other,) = table(tmp_path)
    assert other["failure"] == ""
    assert other["reconstruction_sse"] != first["reconstruction_sse"]
    assert len(list(tmp_path.glob("*/weights.safetensors"))) == 3


@pytest.mark.usefixtures("small_splits")
def test_a_table_in_which_every_cell_failed_is_no_success(
    tmp_path: Path, small_fit: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", "pendulum", "--out", str(tmp_path), "--seeds", "0", *small_fit]
    assert main([*command, "--variants", "nn-only", "--priors", "omega=LogNormal(0.5, 0.4)"]) == 2
    assert "every cell failed" in capsys.readouterr().err


def test_list_names_what_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    for name in [*SYSTEMS, *GUIDES, "hybrid-told", "ppc", "paper", "LogNormal", "rad/s"]:
        assert name in shown


@pytest.mark.parametrize("command", ["simulate", "fit", "posterior", "predict", "diagnose"])
def test_help_goes_to_stdout(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    shown = capsys.readouterr()
    assert stop.value.code == 0
    assert "usage" in shown.out
    assert shown.err == ""


def test_an_interrupted_fit_is_saved(tiny: Tiny, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, str(ROOT / "run.py"), "fit", "pendulum", "--data", str(tiny.data)]
    command += ["--variant", "hybrid-told"]
    command += ["--out", str(out), "--steps", "100000", "--sleep", "1e-4", "--batch-size", "10"]
    command += ["--validate-every", "2", "--threads", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        assert any(line.startswith("wake ") for line in lines)
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert f"fit --resume {out}" in rest
    assert json.loads((out / "fit.json").read_text())["ending"] == "interrupted"
    run = load_run(out)
    assert run.fit.steps < 100_000
    known = [row["valid_elbo"] for row in run.fit.history if "valid_elbo" in row]
    assert run.fit.best_elbo == max(known)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_reprior_changes_the_posterior_and_tells_who_needs_a_refit(
    tiny: Tiny, tmp_path: Path, small_posterior: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.nc"
    command = ["posterior", str(tiny.run), "--data", str(tiny.data), "--out", str(out)]
    narrow = ["--reprior", "omega=LogNormal(0.5, 0.05)"]
    assert main([*command, *small_posterior, *narrow]) == 0
    assert re.search(r"k-hat", capsys.readouterr().out)
    stored = az.from_netcdf(str(out))
    assert set(stored["importance"]) == {"k_hat", "effective_size"}
    assert stored["importance"].sizes == {"observation": 40}
    assert np.isfinite(stored["posterior"]["omega"]).all()


def test_paper_loss_fits_with_its_noise_fixed(tmp_path: Path, small_fit: tuple[str, ...]) -> None:
    data, out = str(tmp_path / "d.npz"), tmp_path / "run"
    assert main(["simulate", "pendulum", "--n", "20", "--out", data]) == 0
    command = ["fit", "pendulum", "--variant", "hybrid-told", "--data", data, "--out", str(out)]
    assert main([*command, "--loss", "paper", *small_fit]) == 0
    scale = load_run(out).model.noise.scale
    assert float(scale.detach()) == pytest.approx(np.exp(-4.5), rel=1e-5)
