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

import torch
import tyro
from paper_table import spread
from rich.console import Console

from groundvae.cli.source import TEST, TRAIN, VALID
from groundvae.data.batch import Batch
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.guides.catalogue import GUIDES
from groundvae.inference.fit import fit
from groundvae.inference.posterior import posterior
from groundvae.inference.preset import build_loss
from groundvae.inference.run import Run, RunConfig, load_run, new_run
from groundvae.inference.schedule import FitOptions
from groundvae.models.catalogue import find_system

COLUMNS = ("reconstruction_sse", "omega_mae", "omega_crps", "omega_cov90", "elbo", "iwae")
Row = dict[str, str | float]
console = Console(width=160)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path = Path("runs/guides")
    guides: tuple[str, ...] = GUIDES
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    steps: int | None = None
    threads: int = 2
    only_speed: bool = False
    """Time the steps; fit nothing."""


def step_seconds(guide: str, repeats: int = 12) -> tuple[float, float]:
    """Median seconds of a gradient of model and guide, and of one asleep, of a fresh run."""
    run = new_run(RunConfig("pendulum", 50, guide=guide))
    batch = Batch.of(find_system("pendulum").simulate(200, 1))
    run.guide.prepare(batch)
    loss = build_loss("regularized")
    both = torch.nn.ModuleList([run.model, run.guide])

    def once(asleep: bool) -> float:
        start = time.perf_counter()
        both.zero_grad(set_to_none=True)
        measure = loss.sleep if asleep else loss.differentiable_loss
        measure(run.model, run.guide, batch).backward()
        return time.perf_counter() - start

    found = []
    for asleep in (False, True):
        once(asleep), once(asleep)
        found.append(median(once(asleep) for _ in range(repeats)))
    return found[0], found[1]


def show_speed(guides: Sequence[str]) -> None:
    usual = step_seconds("structured-normal")
    for guide in guides:
        awake, asleep = step_seconds(guide)
        console.print(
            f"{guide}: {1000 * awake:.1f} ms a gradient, {awake / usual[0]:.2f} x the usual; "
            f"asleep {1000 * asleep:.1f} ms, {asleep / usual[1]:.2f} x"
        )


def fitted(guide: str, seed: int, options: Options) -> Run:
    """The run of one cell, fitted now or before."""
    folder = options.out / f"{guide}-{seed}-{options.steps}"
    if (folder / "config.json").is_file():
        return load_run(folder)
    settings = FitOptions(seed=seed)
    if options.steps is not None:
        settings = replace(settings, steps=options.steps)
    entry = find_system("pendulum")
    run = new_run(RunConfig("pendulum", 50, guide=guide, options=settings))
    train, valid = Batch.of(entry.simulate(*TRAIN)), Batch.of(entry.simulate(*VALID))
    run.fit = fit(run.model, run.guide, run.loss(), train, valid, settings)
    run.save(folder)
    return run


def measure(guide: str, seed: int, options: Options) -> Row:
    run = fitted(guide, seed, options)
    test = find_system("pendulum").simulate(*TEST)
    metrics = compute_metrics(posterior(run, test))
    row: Row = {"guide": guide, "seed": seed, "fit_seconds": run.fit.seconds}
    row |= {column: metrics[column] for column in COLUMNS}
    return row


def write(rows: Sequence[Row], folder: Path) -> None:
    """Every cell as csv; mean and standard deviation over seeds as a table."""
    columns = list(rows[0])
    with (folder / "guides.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    numbers = [c for c in columns if c not in ("guide", "seed")]
    lines = ["| guide | seeds | " + " | ".join(numbers) + " |", "| --- " * (len(numbers) + 2) + "|"]
    for guide in dict.fromkeys(str(row["guide"]) for row in rows):
        group = [row for row in rows if row["guide"] == guide]
        cells = [spread(float(row[n]) for row in group) for n in numbers]
        lines.append(f"| {guide} | {len(group)} | " + " | ".join(cells) + " |")
    (folder / "guides.md").write_text("\n".join(lines) + "\n")


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
    console.print((options.out / "guides.md").read_text(), markup=False)


if __name__ == "__main__":
    main(tyro.cli(Options))
