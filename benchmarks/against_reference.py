"""The method's public code against ours: same data, same threads, same machine, in turn.

Takes a checkout of the public code (``n-takeishi/phys-vae``), runs its published pendulum
experiment and then our default fit on the very same series, and prints the seconds each needs
to equal validation SSE (of one posterior draw, as the public code measures it), with their
ratio. Its learning rate is constant, so fewer epochs are the first part of the full run.

    python benchmarks/against_reference.py CHECKOUT --epochs 1300 --threads 1
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import fit_speed
import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from groundvae.cli.source import TRAIN, VALID
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.models.ownfile import find_system

TARGETS = (2.0, 1.0, 0.7, 0.5, 0.4, 0.3, 0.25)
PUBLISHED = {  # options of its pendulum experiment
    "range-omega": "0.392 3.53",
    "hidlayers-aux1-dec": "64 64",
    "hidlayers-aux2-dec": "128 128",
    "x-lnvar": "-9.0",
    "arch-feat": "mlp",
    "hidlayers-feat": "128 128",
    "num-units-feat": "256",
    "hidlayers-unmixer": "128 128",
    "hidlayers-aux1-enc": "64 32",
    "hidlayers-aux2-enc": "64 32",
    "hidlayers-omega": "64 32",
    "learning-rate": "1e-3",
    "train-size": "1000",
    "batch-size": "200",
    "grad-clip": "5.0",
    "intg-lev": "1",
    "weight-decay": "1e-6",
    "adam-eps": "1e-3",
    "balance-kld": "1.0",
    "num-workers": "0",
    "activation": "elu",
    "dim-z-aux1": "1",
    "dim-z-aux2": "2",
    "balance-unmix": "1e-3",
    "balance-dataug": "1e-1",
    "balance-lact-dec": "1e-2",
    "balance-lact-enc": "1e-2",
}
LAUNCH = (
    "import sys, runpy, torch; torch.set_num_threads(int(sys.argv.pop(1))); "
    "runpy.run_module('physvae.pendulum.train', run_name='__main__', alter_sys=True)"
)


@dataclass(frozen=True)
class Options:
    """What to run."""

    checkout: Annotated[Path, tyro.conf.Positional]
    """Folder of the public code."""
    epochs: int = 5000
    """Of the public code; published 5000."""
    threads: int = 2
    seed: int = 0


def write_data(data: Dataset, folder: Path, name: str) -> None:
    """A split in the form that the public code reads."""
    np.savetxt(folder / f"data_{name}.txt", data.x)
    step = float(np.diff(data.coordinates["t"])[0])
    (folder / f"args_{name}.json").write_text(json.dumps({"dt": step}), encoding="utf-8")


def run_reference(options: Options, train: Dataset, valid: Dataset) -> list[tuple[float, float]]:
    """(seconds of training, validation SSE) of every epoch, as its own log has them."""
    if not (options.checkout / "physvae" / "pendulum" / "train.py").is_file():
        raise SystemExit(f"{options.checkout}: no physvae/pendulum/train.py, expected a checkout")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(train, folder, "train")
        write_data(valid, folder, "valid")
        command = [sys.executable, "-c", LAUNCH, str(options.threads), "--outdir", name]
        command += ["--datadir", name, "--epochs", str(options.epochs)]
        command += ["--seed", str(options.seed)]
        for option, values in PUBLISHED.items():
            command += [f"--{option}", *values.split()]
        threads = {"OMP_NUM_THREADS": str(options.threads)}
        subprocess.run(
            command,
            cwd=options.checkout,
            env=os.environ | threads,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        log = np.loadtxt(folder / "log.txt", ndmin=2)
    return [(float(row[-1]), float(row[6])) for row in log]


def run_ours(options: Options, train: Dataset, valid: Dataset) -> list[tuple[float, float]]:
    """(seconds, validation SSE) of our default fit."""
    torch.set_num_threads(options.threads)
    settings = fit_speed.settings(options.seed)
    return fit_speed.watched_fit(Batch.of(train), Batch.of(valid), settings, draws=1).points


def main(options: Options) -> None:
    entry = find_system("pendulum")
    train, valid = entry.source.simulate(*TRAIN), entry.source.simulate(*VALID)
    theirs = run_reference(options, train, valid)
    ours = run_ours(options, train, valid)
    table = Table("validation SSE", "public code, s", "ours, s", "ratio")
    for target in TARGETS:
        a, b = fit_speed.first(theirs, target), fit_speed.first(ours, target)
        ratio = f"{a / b:.1f}" if a and b else ""
        table.add_row(str(target), *("-" if s is None else f"{s:.1f}" for s in (a, b)), ratio)
    table.add_row("best", *(f"{min(sse for _, sse in p):.3f}" for p in (theirs, ours)), "")
    table.add_row("seconds in all", *(f"{p[-1][0]:.0f}" for p in (theirs, ours)), "")
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
