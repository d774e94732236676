"""Posteriors block by block and sweeps on workers: the same numbers whoever draws, nothing lost."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from groundvae.cli import compare, diagnose
from groundvae.cli.commands import Diagnose
from groundvae.cli.main import main
from groundvae.cli.source import FileRows, read_data
from groundvae.data.errors import InputError
from groundvae.data.root import Splits
from groundvae.data.rows import Rows
from groundvae.inference import arviz as az
from groundvae.inference.cluster import Cluster, alone, workers
from groundvae.inference.options import PosteriorOptions
from groundvae.inference.outofcore import posterior_to_zarr
from groundvae.inference.posterior import posterior
from groundvae.inference.run import load_run
from groundvae.models.ownfile import find_system

from .conftest import Tiny

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
pytest.importorskip("zarr")
from groundvae.inference.store import Store, read_store  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIONS = PosteriorOptions(draws=8, predictive_draws=4, block=10)
BLOCKS = 4  # of the forty series of ``tiny``


@pytest.fixture(scope="module")
def alone_written(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The posterior of the forty series, written by this process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("alone") / "posterior.zarr"
    posterior_to_zarr(tiny.run, forty(tiny), path, OPTIONS)
    torch.set_num_threads(before)
    return path


def forty(tiny: Tiny) -> FileRows:
    return FileRows(tiny.data, find_system("pendulum"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in (".zattrs", ".zmetadata")
    }


def kill_one(cluster: distributed.LocalCluster) -> None:
    with distributed.Client(cluster) as client:
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)


def killing(cluster: distributed.LocalCluster) -> Callable[[int, int], None]:
    """Kills a worker once something is done."""
    left = [cluster]

    def progress(done: int, count: int) -> None:
        if 0 < done < count and left:
            kill_one(left.pop())

    return progress


def test_workers_of_which_one_is_killed_write_the_same_bytes(
    tiny: Tiny, alone_written: Path, cluster: distributed.LocalCluster, tmp_path: Path
) -> None:
    out, seen = tmp_path / "many.zarr", killing(cluster)
    where = cluster.scheduler_address
    posterior_to_zarr(tiny.run, forty(tiny), out, OPTIONS, cluster=where, progress=seen)
    assert contents(out) == contents(alone_written)


def test_what_was_stopped_is_gone_on_with(tiny: Tiny, alone_written: Path, tmp_path: Path) -> None:
    out, drawn = tmp_path / "stopped.zarr", []

    def stop(done: int, count: int) -> None:
        drawn.append(done)
        if done == 20:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        posterior_to_zarr(tiny.run, forty(tiny), out, OPTIONS, progress=stop)
    assert Store(out).missing() == [20, 30]
    with pytest.raises(InputError, match="2 blocks are not written yet"):
        read_store(out)
    with pytest.raises(InputError, match="was begun with another draws"):
        posterior_to_zarr(tiny.run, forty(tiny), out, PosteriorOptions(draws=9, block=10))
    posterior_to_zarr(
        tiny.run, forty(tiny), out, OPTIONS, progress=lambda done, _: drawn.append(done)
    )
    assert drawn == [0, 10, 20, 20, 30, 40]
    assert contents(out) == contents(alone_written)


def test_it_is_read_by_xarray_and_arviz_and_equals_one_in_memory(
    tiny: Tiny, alone_written: Path
) -> None:
    data = read_data(tiny.data, find_system("pendulum"))
    whole = posterior(load_run(tiny.run), data, OPTIONS)
    opened = xr.open_zarr(alone_written, group="posterior")
    assert opened["omega"].chunks[-1] == (10,) * BLOCKS
    assert opened["omega"].attrs["units"] == "rad/s"
    read = read_store(alone_written)
    assert set(read.groups()) == set(whole.groups())
    for group in whole.groups():
        if not group.startswith("prior"):  # drawn at the inputs of the first few
            xr.testing.assert_allclose(read[group].load(), whole[group], rtol=1e-4)
    assert np.isfinite(az.loo(read, var_name="x")["elpd"])


def test_a_block_without_samples_costs_itself(tiny: Tiny, tmp_path: Path) -> None:
    data = read_data(tiny.data, find_system("pendulum")).subset(slice(0, 25))
    data.x[10:20] = np.nan
    data.x[3] = np.nan
    posterior_to_zarr(tiny.run, data, tmp_path / "out.zarr", OPTIONS)
    read = read_store(tmp_path / "out.zarr")
    bad = read["constant_data"]["unusable"].values
    assert np.flatnonzero(bad).tolist() == [3, *range(10, 20)]
    known = np.isfinite(read["posterior"]["omega"].values).all((0, 1))
    assert np.flatnonzero(~known).tolist() == list(range(10, 20))  # the third got the prior


@pytest.mark.parametrize("kind", ["in memory", "nc"])
def test_names_of_a_later_block_are_whole(kind: str, tiny: Tiny, tmp_path: Path) -> None:
    """However short those of the first are, and where rows of a file are read when they are due."""
    entry = find_system("pendulum")
    names = ("a", *(f"b{i}" for i in range(23)), "a name that is longer")
    data = replace(read_data(tiny.data, entry).subset(slice(0, 25)), labels={"observation": names})
    rows: Rows = data
    if kind == "nc":
        axes = {"observation": list(names), "time": data.coordinates["t"]}
        xr.Dataset({"x": (("observation", "time"), data.x)}, axes).to_netcdf(tmp_path / "d.nc")
        rows = FileRows(tmp_path / "d.nc", entry)
    posterior_to_zarr(tiny.run, rows, tmp_path / "out.zarr", OPTIONS)
    read = read_store(tmp_path / "out.zarr")
    assert tuple(map(str, read["constant_data"]["observation_name"].values)) == names


@pytest.mark.parametrize("kind", ["stored", "compressed", "nc", "zarr"])
def test_rows_of_a_file_are_those_of_the_whole(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    entry, arrays = find_system("pendulum"), dict(np.load(tiny.data))
    path = tmp_path / f"data.{'npz' if kind in ('stored', 'compressed') else kind}"
    if path.suffix == ".npz":
        {"stored": np.savez, "compressed": np.savez_compressed}[kind](path, **arrays)
    else:
        axes = ("observation", "time")
        variables = {k: (axes[: v.ndim], v) for k, v in arrays.items() if k not in ("t",)}
        labelled = xr.Dataset(variables, coords={"time": ("time", arrays["t"], {"units": "s"})})
        if kind == "nc":
            labelled.to_netcdf(path, engine="h5netcdf")
        else:
            labelled.to_zarr(path, zarr_format=2)
    rows, whole = FileRows(path, entry), read_data(path, entry)
    some = rows.subset(slice(7, 12))
    assert len(rows) == len(whole) == 40
    assert some.digest() == whole.subset(slice(7, 12)).digest()


@pytest.mark.slow
def test_commands_take_a_cluster(
    tiny: Tiny, cluster: distributed.LocalCluster, tmp_path: Path
) -> None:
    alone_, many = tmp_path / "alone.nc", tmp_path / "many.nc"
    command = ["predict", str(tiny.run), "--data", str(tiny.data), "--do", "omega*=2", "--until"]
    command += ["6", "--draws", "8", "--predictive-draws", "4", "--block", "20"]
    assert main([*command, "--out", str(alone_)]) == 0
    where = ["--cluster", cluster.scheduler_address]
    assert main([*command, "--out", str(many), *where]) == 0
    one, other = az.from_netcdf(alone_), az.from_netcdf(many)
    for group in ("posterior", "posterior_predictive", "constant_data"):
        xr.testing.assert_allclose(one[group], other[group], rtol=1e-4)


def test_posterior_and_diagnose_take_a_cluster(
    tiny: Tiny, cluster: distributed.LocalCluster, tmp_path: Path
) -> None:
    where, out = cluster.scheduler_address, tmp_path / "many.nc"
    command = ["posterior", str(tiny.run), "--data", str(tiny.data), "--out", str(out)]
    command += ["--draws", "8", "--predictive-draws", "4", "--block", "10"]
    assert main([*command, "--cluster", where]) == 0
    data = read_data(tiny.data, find_system("pendulum"))
    diagnosed = [
        diagnose.drawn(Diagnose(tiny.run, cluster=who, options=OPTIONS), load_run(tiny.run), data)
        for who in ("none", where)
    ]
    for group in ("posterior", "posterior_predictive", "log_likelihood"):
        for found in (az.from_netcdf(out), diagnosed[1]):
            xr.testing.assert_allclose(found[group], diagnosed[0][group], rtol=1e-4)


def test_a_disk_that_is_too_small_is_told_before_the_work(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = namedtuple("room", "total used free")(10**6, 10**6 - 1000, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    drawn: list[int] = []
    with pytest.raises(InputError, match="1e-06 GB are free, expected fewer --draws"):
        posterior_to_zarr(
            tiny.run,
            forty(tiny),
            tmp_path / "out.zarr",
            OPTIONS,
            progress=lambda done, _: drawn.append(done),
        )
    assert not drawn
    assert not (tmp_path / "out.zarr").exists()


def test_workers_of_this_machine_leave_a_terminal_s_signals_to_who_asks() -> None:
    """Ctrl-C reaches every process of a terminal: workers that ended by it left a fit waiting."""
    with workers("local:1") as group:
        assert group.count == 1
        (found,) = group.map(handlers, [("SIGINT", "SIGHUP", "SIGTERM")])
    assert found[:2] == [signal.SIG_IGN, signal.SIG_IGN]
    assert found[2] != signal.SIG_IGN


def handlers(names: tuple[str, ...]) -> list[object]:
    return [signal.getsignal(getattr(signal, name)) for name in names]


@pytest.mark.slow
def test_a_part_that_no_worker_survives_is_one_sentence() -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        workers("local:1") as group,
        pytest.raises(InputError, match="ended one worker after the other, expected more memory"),
    ):
        list(group.map(end, [1]))


def end(code: int) -> None:
    """As the system does to a process that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_cells_are_measured_by_workers(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = read_data(tiny.data, find_system("pendulum"))
    splits = Splits(data, data.subset(slice(8)), data.subset(slice(8)), "forty")
    monkeypatch.setattr(compare, "default_splits", lambda *_: splits)
    command = ["compare", "pendulum", "--variants", "physics-only", "--steps", "2", "--sleep", "1"]
    command += ["--batch-size", "10", "--seeds", "0", "1", "--out"]
    assert main([*command, str(tmp_path / "one")]) == 0
    with distributed.LocalCluster(
        n_workers=1, processes=False, dashboard_address=None, silence_logs=50
    ) as made:
        monkeypatch.setattr(compare, "workers", lambda _: through(made))
        assert main([*command, str(tmp_path / "other"), "--cluster", "tcp://here:1"]) == 0
    timeless = [
        [
            {k: v for k, v in row.items() if k not in ("fit_seconds", "folder")}
            for row in table(tmp_path / name)
        ]
        for name in ("one", "other")
    ]
    assert timeless[0] == timeless[1]
    assert [row["failure"] for row in timeless[0]] == ["", ""]
    assert len(list((tmp_path / "other").glob("*.log"))) == 2


@contextmanager
def through(made: distributed.LocalCluster) -> Iterator[Cluster]:
    with distributed.Client(made) as client:
        yield Cluster(client)


@pytest.mark.slow
def test_a_sweep_survives_a_killed_worker_and_is_finished_by_a_second(
    cluster: distributed.LocalCluster, tmp_path: Path, small_fit: tuple[str, ...]
) -> None:
    """The worker is killed while it fits a cell; the table is that of one process alone."""
    command = ["compare", "pendulum", "--variants", "physics-only", *small_fit]
    alone_, many = tmp_path / "alone", tmp_path / "many"
    assert main([*command, "--out", str(alone_), "--seeds", "0", "1", "2"]) == 0
    where = ["--out", str(many), "--cluster", cluster.scheduler_address, "--seeds"]
    killed: list[int] = []
    thread = threading.Thread(target=kill_at_work, args=(cluster, many, killed))
    thread.start()
    assert main([*command, *where, "0", "1"]) == 0
    thread.join()
    assert killed
    first = table(many)
    assert main([*command, *where, "0", "1", "2"]) == 0
    assert table(many)[:2] == first
    same = [k for k in first[0] if k not in ("folder", "fit_seconds")]
    for one, other in zip(table(alone_), table(many), strict=True):
        assert {k: one[k] for k in same} == {k: other[k] for k in same}
        assert one["failure"] == ""
    assert len(list(many.glob("*.log"))) == 3


def kill_at_work(cluster: distributed.LocalCluster, out: Path, killed: list[int]) -> None:
    """Kill a worker by SIGKILL once it has begun to fit."""
    with distributed.Client(cluster) as client:
        while not any("fitting" in log.read_text() for log in out.glob("*.log")):
            time.sleep(0.02)
        busy = {where for where, tasks in client.processing().items() if tasks}
        pids = client.run(os.getpid)
        killed.append(next(pids[where] for where in pids if where in busy))
        os.kill(killed[0], signal.SIGKILL)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("where", ["local", "local:0", "http://a:1", "tcp://a"])
def test_what_names_no_workers_is_refused(where: str) -> None:
    with (
        pytest.raises(InputError, match="expected local:N, tcp://HOST:PORT or none"),
        workers(where),
    ):
        pass


def test_a_process_does_one_task_at_a_time() -> None:
    from concurrent.futures import ThreadPoolExecutor

    at_work, most = [], []

    def task(number: int) -> int:
        at_work.append(number)
        most.append(len(at_work))
        torch.randn(1000).sort()
        at_work.remove(number)
        return number

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: alone(task, n), range(20))) == list(range(20))
    assert set(most) == {1}


def test_workers_are_nobodys_default() -> None:
    """What xarray reads and writes in this process later asks nobody."""
    with workers("local:1"), pytest.raises(ValueError, match="No clients"):
        distributed.default_client()
    assert dask.config.get("scheduler", None) is None
