"""Where the time of a pendulum's training step goes, awake and asleep, in milliseconds.

Each part is timed on its own, median over repeats. Each further column undoes one more thing:
steps of the solver are differentiated one by one, not all at once; and the residual's force is
computed at every stage of the solver, not tabulated for all.

    python benchmarks/profile_step.py --threads 1
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import pyro
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from groundvae.cli.source import TRAIN
from groundvae.data.batch import Batch
from groundvae.guides.laplace import LaplaceGuide
from groundvae.inference.elbo import SLEEP
from groundvae.inference.run import Run, RunConfig, new_run
from groundvae.models.recipe import FitOptions
from groundvae.inference.trainer import Phase, Trainer
from groundvae.models.ownfile import find_system
from groundvae.models.systems.pendulum import AUXILIARY, Pendulum
from groundvae.models.residual import BoundResidual, HarmonicResidual
from groundvae.physics.solver import RK4


@dataclass(frozen=True)
class Options:
    """How to time."""

    threads: int = 2
    repeats: int = 30
    batch_size: int = 200


class Untabulated(HarmonicResidual):
    """The default residual, evaluated anew at every stage."""

    def bind(self, auxiliary: Tensor, times: Tensor | None, **options: Any) -> BoundResidual:
        return super().bind(auxiliary, None, **options)


def milliseconds(part: Callable[[], object], repeats: int) -> float:
    """Median time of one call."""
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        part()
        times.append(1e3 * (time.perf_counter() - start))
    return median(times[3:])


def parts(run: Run, train: Batch, options: Options) -> dict[str, float]:
    """Time of each part of a step."""
    settings = FitOptions(batch_size=options.batch_size)
    run.guide.attach(run.model)
    run.guide.prepare(train)
    guide = run.guide.first  # the part of it that learns with the model
    trainer = Trainer(run.model, run.guide, run.loss(), train, train, settings)
    batch, loss = next(trainer.stream), trainer.loss
    penalties = loss.active(run.model, guide)

    def step_parts() -> dict[str, float]:
        made = loss._step(run.model, guide, batch, reduced=True)
        marks = {"": time.perf_counter()}
        _ = made.guide_trace
        marks["guide"] = time.perf_counter()
        _ = made.model_trace
        marks["decode, both worlds"] = time.perf_counter()
        terms = {name: penalty(made) for name, penalty in penalties.items()}
        marks["penalties, simulations with them"] = time.perf_counter()
        assert terms
        names = list(marks)
        return {b: 1e3 * (marks[b] - marks[a]) for a, b in itertools.pairwise(names)}

    rows = [step_parts() for _ in range(options.repeats + 3)][3:]
    found = {name: median(row[name] for row in rows) for name in rows[0]}
    joint, many = loss.differentiable_loss, 10**6
    wake = Phase("wake", many, guide, joint, [run.model, guide], settings, validated=True)
    sleep = Phase(SLEEP, many, guide, loss.sleep, [guide], settings)
    whole = milliseconds(lambda: trainer.step(wake), options.repeats)
    found["backward and update"] = whole - sum(found.values())
    found["a step awake"] = whole
    found["a step asleep"] = milliseconds(lambda: trainer.step(sleep), options.repeats)
    if isinstance(run.guide, LaplaceGuide):
        found["the modes of all series"] = milliseconds(lambda: run.guide.approximation(train), 3)
    return found


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    entry = find_system("pendulum")
    train = Batch.of(entry.source.simulate(*TRAIN))
    systems = {
        "as it is": Pendulum(dynamics=HarmonicResidual(AUXILIARY)),
        "step by step": Pendulum(dynamics=HarmonicResidual(AUXILIARY), solver=RK4()),
        "and not tabulated": Pendulum(dynamics=Untabulated(AUXILIARY), solver=RK4()),
    }
    columns = {}
    with pyro.validation_enabled(False):
        for name, system in systems.items():
            run = new_run(RunConfig("pendulum", length=train.x.shape[1]))
            run.model.system = system
            columns[name] = parts(run, train, options)
    table = Table("part, ms", *columns)
    for part in columns["as it is"]:
        table.add_row(part, *(f"{column[part]:.1f}" for column in columns.values()))
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
