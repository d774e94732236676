"""``check``: the prior predictive check of a model that was never fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from groundvae.cli.main import main
from groundvae.data.dataset import Dataset
from groundvae.data.pendulum import simulate

FAST = ("--draws", "200", "--threads", "1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    simulate(60, 0).save(path)
    return path


def test_the_usual_priors_allow_the_data(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "prior.png"
    assert main(["check", "pendulum", "--data", str(data), "--out", str(out), *FAST]) == 0
    assert "\ngood: prior predictive. The priors allow" in capsys.readouterr().out
    assert out.is_file()
    assert out.with_suffix(".svg").is_file()


def test_data_in_degrees_and_a_narrow_prior_are_found(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = simulate(60, 0)
    degrees = tmp_path / "degrees.npz"
    Dataset(np.rad2deg(made.x), made.coordinates).save(degrees)
    out = ["--out", str(tmp_path / "prior.png"), *FAST]
    assert main(["check", "pendulum", "--data", str(degrees), *out]) == 0
    assert "bad: prior predictive." in capsys.readouterr().out
    narrow = ["--prior", "theta0=Uniform(-0.05, 0.05)", "--variant", "physics-only"]
    assert main(["check", "pendulum", "--data", str(data), *narrow, *out]) == 0
    assert "bad: prior predictive." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--out", "figure.pdf"], "ends in .png"),
        (["--draws", "0"], "draws is 0"),
        (["--prior", "nu=Normal(0, 1)"], "no physics latent 'nu'"),
        (["--variant", "other"], "no variant 'other'"),
        (["--data", "missing.npz"], "no such file"),
        (["--data", "still.npz"], "every sample of the data is 0.5, expected values that differ"),
        (["--data", "once.npz"], "no observation has two samples"),
    ],
)
def test_bad_input_is_one_sentence(
    data: Path,
    tmp_path: Path,
    options: list[str],
    word: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Dataset(np.full((5, 3), 0.5), {"t": np.arange(3.0)}).save(Path("still.npz"))
    Dataset(np.array([[0.5], [1.0]]), {"t": np.zeros(1)}).save(Path("once.npz"))
    assert main(["check", "pendulum", "--data", str(data), *FAST, *options]) == 2
    told = capsys.readouterr().err
    assert word in told
    assert told.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))
