"""Fits by evidence on workers: the same weights to the last bit, whoever searches and is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import groundvae as gv
from groundvae.cli.main import main
from groundvae.cli.source import read_data
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides import search, workers
from groundvae.guides.phase import Ending, Phase
from groundvae.guides.workers import HERE, chunks, in_order, share
from groundvae.inference.checkpoint import FILE
from groundvae.inference.fit import fit
from groundvae.inference.run import Run
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import FitOptions, Recipe

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parents[1]
ROUNDS, SERIES = 11, 40  # beyond the round at which searches begin anew; two chunks to fit
LAW = '''
import groundvae as gv


class Spring(gv.Dynamics):
    """A spring in a file that no worker could import."""

    omega = gv.Latent(gv.LogNormal(0.5, 0.5), "rad/s", "sqrt(k / m)")
    states = ("position", "velocity")
    observed = "position"

    def initial(self, z, inputs):
        return {"position": 1.0, "velocity": 0.0}

    def rate(self, t, state, z, inputs):
        return {"position": state.velocity, "velocity": -(z.omega**2) * state.position}
'''


@pytest.fixture(autouse=True)
def small_work_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WORTH", 0)
    monkeypatch.setattr(workers, "TOGETHER", 16)


@pytest.fixture(scope="module")
def spring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The law in a file, and ``spring.npz`` beside it: amplitudes that fall, which no law told."""
    folder = tmp_path_factory.mktemp("spring")
    (folder / "spring.py").write_text(LAW, encoding="utf-8")
    times, omega = np.linspace(0.0, 3.0, 16), np.linspace(1.0, 2.0, SERIES)[:, None]
    noise = 0.02 * np.random.default_rng(0).standard_normal((SERIES, 16))
    x = np.exp(-0.1 * times) * np.cos(omega * times) + noise
    np.savez(folder / "spring.npz", x=x, t=times)
    return folder / "spring.py"


@pytest.fixture(scope="module")
def series(spring: Path) -> Dataset:
    return read_data(spring.with_suffix(".npz"), find_system(str(spring)))


@pytest.fixture(scope="module")
def whole(spring: Path, series: Dataset) -> Run:
    """The fit of one process that nobody stopped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "TOGETHER", 16)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        run = fit(str(spring), series, recipe=recipe(spring))
        torch.set_num_threads(before)
    return run


def recipe(spring: Path) -> Recipe:
    entry = find_system(str(spring))
    usual = entry.variant(entry.usual).recipe
    return replace(usual, options=FitOptions(steps=ROUNDS, validate_every=4))


def assert_equal(one: Run, other: Run, folder: Path) -> None:
    """All that was learned, to the last bit, and all that was told on the way."""
    one.save(folder / "one")
    other.save(folder / "other")
    learned = [sorted((folder / name).glob("*.safetensors")) for name in ("one", "other")]
    assert [file.name for file in learned[0]] == [file.name for file in learned[1]]
    assert len(learned[0]) == 3  # weights, what is ordinary, the population
    for mine, yours in zip(*learned, strict=True):
        assert mine.read_bytes() == yours.read_bytes(), mine.name
    rows = [[{**row, "seconds": 0.0} for row in run.fit.history] for run in (one, other)]
    assert rows[0] == rows[1]


def kill_at_work(cluster: distributed.LocalCluster, killed: list[int]) -> None:
    """Kill a worker by SIGKILL while it is at a task."""
    with distributed.Client(cluster) as client:
        pids = client.run(os.getpid)
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            busy = [where for where, tasks in client.processing().items() if tasks]
            if busy:
                killed.append(pids[busy[0]])
                os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.01)


def test_a_fit_on_workers_of_which_one_is_killed_is_that_of_one_process(
    spring: Path, series: Dataset, whole: Run, cluster: distributed.LocalCluster, tmp_path: Path
) -> None:
    killed: list[int] = []
    thread = threading.Thread(target=kill_at_work, args=(cluster, killed))
    thread.start()
    run = fit(str(spring), series, recipe=recipe(spring), cluster=cluster.scheduler_address)
    thread.join()
    assert killed
    assert run.guide.workers is None
    assert_equal(whole, run, tmp_path)


@pytest.mark.slow
def test_one_that_was_stopped_goes_on_anywhere(
    spring: Path, series: Dataset, whole: Run, cluster: distributed.LocalCluster, tmp_path: Path
) -> None:
    def stop(phase: Phase, step: int, terms: dict[str, float]) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)  # as from another shell

    folder, where = tmp_path / "run", cluster.scheduler_address
    kept = fit(
        str(spring), series, recipe=recipe(spring), cluster=where, folder=folder, report=stop
    )
    assert kept.fit.ending is Ending.INTERRUPTED
    assert (folder / FILE).is_file()
    run = fit(str(spring), series, recipe=recipe(spring), folder=folder, resume=True)
    assert_equal(whole, run, tmp_path)


@pytest.mark.slow
def test_the_command_takes_it(
    spring: Path, cluster: distributed.LocalCluster, tmp_path: Path
) -> None:
    command = ["fit", str(spring), "--data", str(spring.with_suffix(".npz")), "--threads", "1"]
    command += ["--steps", "3", "--out"]
    assert main([*command, str(tmp_path / "alone")]) == 0
    where = ["--cluster", cluster.scheduler_address]
    assert main([*command, str(tmp_path / "many"), *where]) == 0
    name = "weights.safetensors"
    one, other = (tmp_path / folder / name for folder in ("alone", "many"))
    assert one.read_bytes() == other.read_bytes()


def test_a_fit_by_gradients_refuses_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fit", "pendulum", "--variant", "hybrid-told", "--cluster", "local:2"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert "takes one gradient step after the other, expected a fit by evidence" in told[0]
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="expected no --device cuda"):
        gv.fit(
            "pendulum",
            find_system("pendulum").source.simulate(8, 1),
            device="cuda",
            cluster="local:2",
        )


def test_chunks_hold_each_observation_once_in_its_order() -> None:
    class Three:
        count = 3
        map = staticmethod(lambda function, tasks: map(function, reversed(list(tasks))))

    assert share(100, HERE) == 112
    assert share(100, Three()) == 48
    rows = chunks(40)
    assert [len(part) for part in rows] == [16, 16, 8]
    assert torch.cat(in_order(Three(), torch.neg, rows)).tolist() == [-i for i in range(40)]
