"""A system of one's own, in one file outside the packages, has all that the built-in ones have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from groundvae.cli.main import main
from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.inference.run import RunConfig, load_run, new_run
from groundvae.models.catalogue import SYSTEMS, Entry
from groundvae.models.ownfile import find_system
from groundvae.models.systems.pendulum import Pendulum

ROOT = Path(__file__).resolve().parents[1]
SPRING = ROOT / "examples" / "spring.py"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example, copied, which is known for one test."""
    monkeypatch.setattr(SYSTEMS, "_known", dict(SYSTEMS))
    path = tmp_path / "spring.py"
    path.write_text(f"{SPRING.read_text()}# {tmp_path}\n")  # no module is made of it yet
    return path


@pytest.fixture
def spring(own: Path) -> Entry:
    return find_system(str(own))


def command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Give the example to a command."""
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.usefixtures("few_simulations")
def test_all_commands_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SYSTEMS, "_known", dict(SYSTEMS))
    monkeypatch.chdir(tmp_path)
    name, data = str(SPRING), ("--data", "spring.npz", "--threads", "1")
    few = ("--draws", "20", "--predictive-draws", "10")
    for arguments in (
        ("simulate", name, "--n", "12", "--seed", "1", "--out", "spring.npz"),
        ("fit", name, *data, "--steps", "8", "--out", "run"),
        ("predict", "run", *data, *few, "--do", "omega*=2", "--out", "predicted.nc"),
        ("diagnose", "run", *data, *few),
    ):
        assert main(list(arguments)) == 0
    again = ("posterior", "run", *data, *few, "--out", "posterior.nc")
    done = command(*again, folder=tmp_path)  # another process finds the run's file
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0 <= metrics["omega_cov90"] <= 1
    assert (tmp_path / "run" / "report.html").is_file()


def test_without_its_file_a_run_says_what_is_missing(own: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no system 'spring', known: advection_diffusion"):
        find_system("spring")
    new_run(RunConfig(str(own), 31, "hybrid-reg")).save(tmp_path / "run")
    assert load_run(tmp_path / "run").entry.name == "spring"
    own.unlink()
    with pytest.raises(InputError, match=r"is declared in .*spring\.py, which is not there"):
        load_run(tmp_path / "run")


def test_a_name_is_taken_once(spring: Entry) -> None:
    SYSTEMS.register("spring")(spring)
    for other in (replace(spring, summary="another"), replace(spring, system=Pendulum)):
        with pytest.raises(InputError, match="there is a system 'spring' already"):
            SYSTEMS.register("spring")(other)


def test_the_example_knows_its_law(own: Path) -> None:
    """Without drag the data are the reduced model, whatever the residual."""
    run = new_run(RunConfig(str(own), 31, "hybrid-reg"))
    assert run.entry.source.simulate is not None
    data, model = run.entry.source.simulate(5, 0), run.model.double()
    model.prepare(Batch.of(data, dtype=torch.float64))
    physics = {name: torch.as_tensor(data.truth[name]) for name in ("omega", "start")}
    times = {"t": torch.as_tensor(data.coordinates["t"])}
    z = torch.zeros(5, model.auxiliary, dtype=torch.float64)
    alone = model.decode(physics, z, times).physics
    exact = data.truth["start"][:, None] * np.cos(np.outer(data.truth["omega"], times["t"]))
    assert alone is not None
    np.testing.assert_allclose(alone.detach().numpy(), exact, atol=2e-3)
