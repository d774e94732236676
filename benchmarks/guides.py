"""Guides compared: accuracy, calibration, bound and step time (against NUTS: ``nuts.py``).

python benchmarks/guides.py [--seeds 0 1 2 3 4] [--guides structured-normal joint-flow] [--steps N]
python benchmarks/guides.py --only-speed

The table goes to ``--out`` as guides.csv and guides.md; fits are kept there, so that a second
call goes on where the first one stopped. ``steps=None`` is the published fit.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import pyro
import torch
import tyro
from paper_table import spread
from rich.console import Console

from groundvae.cli.source import TEST, TRAIN, VALID
from groundvae.data.batch import Batch
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.guides.catalogue import GUIDES
from groundvae.guides.phase import Fitting
from groundvae.guides.simulation import Simulator
from groundvae.inference.optimize import optimize
from groundvae.inference.posterior import posterior
from groundvae.inference.preset import build_loss
from groundvae.inference.run import Run, RunConfig, load_run, new_run
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import FitOptions

COLUMNS = ("reconstruction_sse", "omega_mae", "omega_crps", "omega_cov90", "elbo", "iwae")
USUAL = "structured-normal"
LEARNED = tuple(name for name in GUIDES if name != "modes")  # which is no network's
Row = dict[str, str | float]
console = Console(width=160)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path = Path("runs/guides")
    guides: tuple[str, ...] = LEARNED
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    steps: int | None = None
    threads: int = 2
    only_speed: bool = False
    """Time the steps; fit nothing."""


def unfitted(guide: str, options: FitOptions) -> Run:
    """The published model with one guide."""
    entry = find_system("pendulum")
    recipe = replace(entry.variant().recipe, guide=guide, options=options)
    return new_run(RunConfig("pendulum", 50, entry.usual, recipe))


class Stepper:
    """Gradients of a fresh run with one guide, awake (model and guide) or asleep, timed.

    Of a laplace guide, those of its first answer: the rest of it learns when both are done.
    """

    def __init__(self, guide: str) -> None:
        self.run = unfitted(guide, FitOptions())
        self.batch = Batch.of(find_system("pendulum").source.simulate(200, 1))
        self.run.guide.prepare(self.batch)
        self.guide = getattr(self.run.guide, "first", self.run.guide)
        model, loss = self.run.model, build_loss("regularized")
        simulator = Simulator(model, population=self.guide.population)
        self.fitting = Fitting(model, loss, self.batch, FitOptions(), simulator)
        self.both = torch.nn.ModuleList([self.run.model, self.run.guide])

    def seconds(self, asleep: bool) -> float:
        self.both.zero_grad(set_to_none=True)
        objective = self.fitting.objective
        start = time.perf_counter()
        if asleep:
            terms = objective.asleep(self.fitting, self.guide, self.batch)
        else:
            terms = objective.joint(self.fitting, self.guide, self.batch, 1.0)
        terms["loss"].backward()
        return time.perf_counter() - start


def show_speed(guides: Sequence[str], rounds: int = 20) -> None:
    """Medians of gradients taken in turn, so that a busy moment meets every guide."""
    steppers = {guide: Stepper(guide) for guide in dict.fromkeys((USUAL, *guides))}
    with pyro.validation_enabled(False):
        found = {
            asleep: [
                {guide: stepper.seconds(asleep) for guide, stepper in steppers.items()}
                for _ in range(rounds)
            ][3:]
            for asleep in (False, True)
        }
    for guide in guides:
        of = {k: median(row[guide] for row in rows) for k, rows in found.items()}
        ratio = {k: median(row[guide] / row[USUAL] for row in rows) for k, rows in found.items()}
        console.print(
            f"{guide}: {1000 * of[False]:.1f} ms a gradient, {ratio[False]:.2f} x {USUAL}; "
            f"asleep {1000 * of[True]:.1f} ms, {ratio[True]:.2f} x"
        )


def fitted(guide: str, seed: int, options: Options) -> Run:
    """The run of one cell, fitted now or before."""
    folder = options.out / f"{guide}-{seed}-{options.steps}"
    if (folder / "config.json").is_file():
        return load_run(folder)
    settings = replace(find_system("pendulum").variant().recipe.options, seed=seed)
    if options.steps is not None:
        settings = replace(settings, steps=options.steps)
    entry = find_system("pendulum")
    run = unfitted(guide, settings)
    train, valid = Batch.of(entry.source.simulate(*TRAIN)), Batch.of(entry.source.simulate(*VALID))
    run.fit = optimize(run.model, run.guide, run.loss(), train, valid, settings)
    run.save(folder)
    return run


def measure(guide: str, seed: int, options: Options) -> Row:
    run = fitted(guide, seed, options)
    test = find_system("pendulum").source.simulate(*TEST)
    metrics = compute_metrics(posterior(run, test))
    row: Row = {"guide": guide, "seed": seed, "fit_seconds": run.fit.seconds}
    row |= {column: metrics[column] for column in COLUMNS}
    return row


def write(rows: Sequence[Row], folder: Path) -> None:
    """Every cell as csv; mean and standard deviation over seeds as a table."""
    columns = list(rows[0])
    with (folder / "guides.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    numbers = [c for c in columns if c not in ("guide", "seed")]
    lines = ["| guide | seeds | " + " | ".join(numbers) + " |", "| --- " * (len(numbers) + 2) + "|"]
    for guide in dict.fromkeys(str(row["guide"]) for row in rows):
        group = [row for row in rows if row["guide"] == guide]
        cells = [spread(float(row[n]) for row in group) for n in numbers]
        lines.append(f"| {guide} | {len(group)} | " + " | ".join(cells) + " |")
    (folder / "guides.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    show_speed(options.guides)
    if options.only_speed:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for guide in options.guides:
        for seed in options.seeds:
            rows.append(measure(guide, seed, options))
            write(rows, options.out)
    console.print((options.out / "guides.md").read_text(encoding="utf-8"), markup=False)


if __name__ == "__main__":
    main(tyro.cli(Options))
