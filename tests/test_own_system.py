"""A system of one's own, in one file outside the packages, has all that the built-in ones have."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from groundvae.data.errors import InputError
from groundvae.inference.run import RunConfig, new_run
from groundvae.models import catalogue
from groundvae.models.catalogue import Entry, find_system, register

ROOT = Path(__file__).resolve().parents[1]
SPRING = ROOT / "examples" / "spring.py"
LAUNCH = (
    "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path({run!r})['expose_checkout'](); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


@pytest.fixture
def spring(monkeypatch: pytest.MonkeyPatch) -> Entry:
    """The example's entry, registered for one test."""
    monkeypatch.setattr(catalogue, "SYSTEMS", dict(catalogue.SYSTEMS))
    entry: Entry = runpy.run_path(str(SPRING))["SPRING"]
    register(entry)
    return entry


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    launch = LAUNCH.format(run=str(ROOT / "run.py"))
    return subprocess.run(
        [sys.executable, "-c", launch, str(SPRING), *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_all_commands_take_it(tmp_path: Path) -> None:
    steps = ("--steps", "2", "--sleep", "2", "--validate-every", "2")
    for arguments in (
        ("list",),
        ("simulate", "spring", "--n", "60", "--seed", "1", "--out", "spring.npz"),
        ("fit", "spring", "--data", "spring.npz", *steps, "--threads", "1", "--out", "run"),
        ("posterior", "run", "--data", "spring.npz", "--out", "posterior.nc"),
        ("predict", "run", "--data", "spring.npz", "--do", "omega*=2", "--out", "predicted.nc"),
        ("diagnose", "run", "--data", "spring.npz"),
    ):
        done = command(*arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 <= metrics["omega_cov90"] <= 1
    assert (tmp_path / "run" / "report.html").is_file()


def test_without_its_file_a_run_says_what_is_missing() -> None:
    with pytest.raises(InputError, match="no system 'spring', known: pendulum"):
        find_system("spring")


def test_a_name_is_taken_once(spring: Entry) -> None:
    register(spring)
    with pytest.raises(InputError, match="there is a system 'spring' already"):
        register(Entry(**{**vars(spring), "summary": "another"}))


def test_the_example_knows_its_law(spring: Entry) -> None:
    """Without drag the data are the reduced model, whatever the residual."""
    data = spring.simulate(5, 0)
    system = new_run(RunConfig("spring", 31)).model.system.double()
    physics = {name: torch.as_tensor(data.truth[name]) for name in ("omega", "start")}
    times = {"t": torch.as_tensor(data.coordinates["t"])}
    alone = system.decode(
        physics, torch.zeros(5, system.auxiliary, dtype=torch.float64), times
    ).physics
    exact = data.truth["start"][:, None] * np.cos(np.outer(data.truth["omega"], times["t"]))
    assert alone is not None
    np.testing.assert_allclose(alone.numpy(), exact, atol=2e-3)
