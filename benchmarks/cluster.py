"""Many observations and many workers: seconds, processor time and the largest process.

    python benchmarks/cluster.py RUN --sizes 1000 10000 --clusters none local:2
    python benchmarks/cluster.py RUN --sizes 10000 --clusters local:2 --kill
    python benchmarks/cluster.py --sweep --clusters none local:2
    python benchmarks/cluster.py --fit pendulum --clusters none local:2

RUN is any run of the pendulum. Every row is a process of its own, its start included. What a block
for every worker takes is printed as the start (a worker's first is its slowest), and for each size
what an observation takes beyond it, in seconds of the clock, relative to the smallest size: 1 is
linear. The last column is a hash of all
bytes written: whoever does the work, it is the same. Paths are of at most 10,000 different
pendulums, each series with noise of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

PROGRAM = [sys.executable, str(Path(__file__).resolve().parents[1] / "run.py")]
PATHS, NOISE = 10_000, 0.01  # different paths; rad, of each series that repeats one of them
SWEEP = ["--variants", "physics-only", "--seeds", *map(str, range(8)), "--steps"]


@dataclass(frozen=True)
class Row:
    """What one command took; ``memory``: of its largest process, MB."""

    seconds: float
    processor: float
    memory: float


def timed(arguments: Sequence[str], *, kill: bool = False) -> Row:
    """Run a command; ``kill``: end a worker by SIGKILL when the first block is written."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE if kill else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    if kill:
        assert process.stderr is not None
        told = (line.split()[0] for line in process.stderr if " of " in line)
        next(done for done in told if done != "0")
        workers = psutil.Process(process.pid).children(recursive=True)
        max(workers, key=lambda p: p.memory_info().rss).kill()
        print("  a worker was killed")
        for _ in process.stderr:
            pass
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"failed: {' '.join(arguments)}")
    return Row(time.monotonic() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def digest(store: Path) -> str:
    """Of all numbers of a store."""
    found = hashlib.sha256()
    for file in sorted(p for p in store.rglob("*") if p.is_file()):
        found.update(str(file.relative_to(store)).encode() + file.read_bytes())
    return found.hexdigest()


def simulated(size: int, folder: Path) -> Path:
    """A file of so many series."""
    data, some = folder / f"{size}.npz", folder / "some.npz"
    if size <= PATHS or not some.is_file():
        command = ["simulate", "pendulum", "--n", str(min(size, PATHS))]
        command += ["--out", str(data if size <= PATHS else some)]
        subprocess.run([*PROGRAM, *command], check=True, stdout=subprocess.DEVNULL)
    if size > PATHS:
        paths, rng = np.load(some), np.random.default_rng(size)
        x = np.resize(paths["x"], (size, paths["x"].shape[1]))
        noise = NOISE * rng.standard_normal(x.shape, dtype=np.float32)
        np.savez(data, x=x + noise, t=paths["t"])
    return data


def workers_of(cluster: str) -> int:
    """How many share the work; of a scheduler's address it is not known, and one is taken."""
    kind, _, count = cluster.partition(":")
    return int(count) if kind == "local" else 1


def posteriors(asked: argparse.Namespace, folder: Path) -> None:
    """Rows of sizes and clusters, and what an observation of each takes beyond the start."""
    for cluster in asked.clusters:
        first = asked.block * workers_of(cluster)
        sizes = [first, *asked.sizes]
        files = {size: simulated(size, folder) for size in sizes}
        rows = []
        for size in [first, *sizes]:  # the first fills the caches of files, and is left out
            data, out = files[size], folder / f"{size}-{cluster[:5]}.zarr"
            command = ["posterior", asked.run, "--data", str(data), "--out", str(out)]
            command += ["--draws", str(asked.draws), "--block", str(asked.block)]
            command += ["--predictive-draws", str(asked.predictive_draws), "--cluster", cluster]
            row = timed(command, kill=asked.kill and cluster != "none" and size > first)
            rows.append(row)
            print(
                f"{size:>8} {cluster:>8}  {row.seconds:8.1f} s  {row.processor:8.1f} s of processor"
                f"  {row.memory:6.0f} MB  {digest(out)[:12]}",
                flush=True,
            )
            shutil.rmtree(out)
        beyond = [(n - first, row) for n, row in zip(sizes, rows[1:], strict=True)][1:]
        start = rows[1]
        each = [(row.seconds - start.seconds) / n for n, row in beyond]
        of_processor = [(row.processor - start.processor) / n for n, row in beyond]
        print(
            f"{cluster}: start {start.seconds:.1f} s; beyond it an observation takes (ms) "
            f"{', '.join(f'{1000 * t:.3g}' for t in each)}, relative to the first "
            f"{', '.join(f'{t / each[0]:.3f}' for t in each)}; of processor (ms) "
            f"{', '.join(f'{1000 * t:.3g}' for t in of_processor)}"
        )


def sweeps(asked: argparse.Namespace, folder: Path) -> None:
    """A sweep of eight cells on each cluster."""
    for cluster in asked.clusters:
        out = folder / f"sweep-{cluster.replace(':', '-')}"
        command = ["compare", "pendulum", *SWEEP, str(asked.steps), "--threads", "1"]
        row = timed([*command, "--out", str(out), "--cluster", cluster])
        print(
            f"8 cells {cluster:>8}  {row.seconds:8.1f} s  {row.processor:8.1f} s of processor",
            flush=True,
        )


def fits(asked: argparse.Namespace, folder: Path) -> None:
    """A fit by evidence on each cluster; the hash is of what was learned."""
    for cluster in asked.clusters:
        out = folder / f"fit-{cluster.replace(':', '-')}"
        row = timed(["fit", asked.fit, "--threads", "1", "--out", str(out), "--cluster", cluster])
        learned = hashlib.sha256((out / "weights.safetensors").read_bytes()).hexdigest()
        print(
            f"fit {asked.fit} {cluster:>8}  {row.seconds:8.1f} s  {row.processor:8.1f} s of "
            f"processor  {learned[:12]}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", default="")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--clusters", nargs="+", default=["none", "local:2"])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--predictive-draws", type=int, default=10)
    parser.add_argument("--block", type=int, default=500)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--fit", default="", help="a system whose default is fitted by evidence")
    parser.add_argument("--steps", type=int, default=400, help="of each cell of a sweep")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (fits if asked.fit else sweeps if asked.sweep else posteriors)(asked, Path(folder))


if __name__ == "__main__":
    main()
