"""What a pendulum's correction is learned from: simulations against the ELBO of the data.

Takes the folders of runs, as ``paper_table.py`` leaves them, learns the correction of each anew at
several weights of simulations (in units of the ELBO's), and measures 1,000 fresh series. At weight
0 nothing is learned: that is the Laplace approximation.

    python benchmarks/calibrating.py runs/paper_table-runs/hybrid-told-*
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyro
import torch
import tyro
from paper_table import spread
from rich.console import Console
from rich.table import Table

from groundvae.cli.source import TEST, TRAIN
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.guides.amortized import share
from groundvae.guides.calibration import CalibrationLoss
from groundvae.guides.descent import Descent
from groundvae.guides.laplace import LaplaceGuide
from groundvae.guides.phase import Fitting
from groundvae.guides.simulation import Simulator
from groundvae.inference.posterior import posterior
from groundvae.inference.run import Run, load_run, new_run
from groundvae.models.ownfile import find_system

COLUMNS = (
    "reconstruction_sse",
    "omega_mae",
    "omega_crps",
    "omega_cov50",
    "omega_cov90",
    "theta0_cov50",
    "theta0_cov90",
)


@dataclass(frozen=True)
class Options:
    """Which runs to measure, and at which weights."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    weights: tuple[float, ...] = (0.0, 10.0, 30.0, 100.0, 1000.0)
    threads: int = 2


def fitting_of(run: Run, train: Batch) -> Fitting:
    """What the phases of the run's own fit were given."""
    simulator = Simulator(run.model, population=run.guide.population)
    return Fitting(run.model, run.loss(), train, run.config.options, simulator)


def calibrate(fitting: Fitting, loss: CalibrationLoss) -> None:
    """Learn the correction of a laplace guide, in place, for as many steps as its fit has."""
    steps, rate = share(fitting.options.calibrate, fitting), fitting.options.learning_rate
    descent = Descent(fitting, loss, [loss.guide.correction], steps=steps, rate=rate)
    for number in range(1, steps + 1):
        descent.step(number)


def measure(
    run: Run, weights: tuple[float, ...], train: Batch, test: Dataset
) -> dict[float, Mapping[str, float]]:
    """Metrics at each weight; the modes of data and simulations are searched once."""
    guide, seed = run.guide, run.config.options.seed
    assert isinstance(guide, LaplaceGuide)
    fresh = new_run(run.config).guide.get_submodule("correction").state_dict()
    found: dict[float, Mapping[str, float]] = {}
    with pyro.validation_enabled(False):
        fitting = fitting_of(run, train)
        loss = CalibrationLoss(fitting, guide, seen=len(train) * 200)
        for weight in weights:
            guide.correction.load_state_dict(fresh)
            torch.manual_seed(seed)
            if weight:
                loss.weight = weight
                calibrate(fitting, loss)
            found[weight] = compute_metrics(posterior(run, test))
    return found


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    simulated = find_system("pendulum").source.simulate
    train, test = Batch.of(simulated(*TRAIN)), simulated(*TEST)
    found = [measure(load_run(path), options.weights, train, test) for path in options.runs]
    table = Table("weight", *COLUMNS)
    for weight in options.weights:
        table.add_row(f"{weight:g}", *(spread(run[weight][c] for run in found) for c in COLUMNS))
    Console(width=160).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
