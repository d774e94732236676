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

import pyro
import torch
import tyro
from rich.console import Console
from rich.table import Table

from groundvae.cli.source import TRAIN
from groundvae.data.batch import Batch
from groundvae.guides.amortized import asleep, awake
from groundvae.guides.descent import Batches
from groundvae.guides.laplace import LaplaceGuide
from groundvae.guides.phase import Fitting
from groundvae.guides.simulation import Simulator
from groundvae.inference.penalty import Step
from groundvae.inference.run import Run, RunConfig, new_run
from groundvae.models.greybox import GreyBox
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import FitOptions
from groundvae.models.residuals import Waves
from groundvae.models.systems.pendulum import Pendulum
from groundvae.physics.solver import RK4


@dataclass(frozen=True)
class Options:
    """How to time."""

    threads: int = 2
    repeats: int = 30
    batch_size: int = 200


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
    settings = FitOptions(batch_size=options.batch_size, steps=10**6)
    run.guide.attach(run.model)
    run.guide.prepare(train)
    guide = getattr(run.guide, "first", run.guide)  # the part of it that learns with the model
    loss, simulator = run.loss(), Simulator(run.model, population=guide.population)
    fitting = Fitting(run.model, loss, train, settings, simulator)
    batch, penalties = next(Batches(fitting)), loss.active(run.model, guide)

    def step_parts() -> dict[str, float]:
        made = Step(run.model, guide, batch, simulator)
        marks = {"": time.perf_counter()}
        _ = made.guide_trace
        marks["guide"] = time.perf_counter()
        _ = made.model_trace
        marks["decode, with and without residual"] = time.perf_counter()
        terms = {name: penalty(made) for name, penalty in penalties.items()}
        marks["penalties, simulations with them"] = time.perf_counter()
        assert terms
        names = list(marks)
        return {b: 1e3 * (marks[b] - marks[a]) for a, b in itertools.pairwise(names)}

    rows = [step_parts() for _ in range(options.repeats + 3)][3:]
    found = {name: median(row[name] for row in rows) for name in rows[0]}
    wake, sleep = awake(guide, fitting, slept=True), asleep(guide, fitting, 10**6)
    whole = milliseconds(lambda: wake.step(1), options.repeats)
    found["backward and update"] = whole - sum(found.values())
    found["a step awake"] = whole
    found["a step asleep"] = milliseconds(lambda: sleep.step(1), options.repeats)
    if isinstance(run.guide, LaplaceGuide):
        found["the modes of all series"] = milliseconds(lambda: run.guide.approximation(train), 3)
    return found


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    entry = find_system("pendulum")
    train = Batch.of(entry.source.simulate(*TRAIN))
    slow = Pendulum()
    slow.solver = RK4()
    whole, anew = (Waves("velocity", units="stiffness", tabulated=t) for t in (True, False))
    models = {
        "as it is": GreyBox(Pendulum(), whole, Gaussian(0.1)),
        "step by step": GreyBox(slow, whole, Gaussian(0.1)),
        "and not tabulated": GreyBox(slow, anew, Gaussian(0.1)),
    }
    columns = {}
    with pyro.validation_enabled(False):
        for name, model in models.items():
            config = RunConfig(
                "pendulum", train.x.shape[1], recipe=entry.variant("hybrid-told").recipe
            )
            run = new_run(config, model=model)
            columns[name] = parts(run, train, options)
    table = Table("part, ms", *columns)
    for part in columns["as it is"]:
        table.add_row(part, *(f"{column[part]:.1f}" for column in columns.values()))
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
