"""Speed of the default pendulum fit: steps per second, seconds to a validation SSE of 0.25.

python benchmarks/fit_speed.py [--seed 0] [--steps N] [--threads 2]
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
import tyro
from pyro import plate, poutine
from rich.console import Console

from groundvae.cli.source import TRAIN, VALID
from groundvae.data.batch import Batch
from groundvae.inference.fit import fit, peak_memory_mb
from groundvae.inference.run import Run, RunConfig, new_run
from groundvae.inference.schedule import FitOptions
from groundvae.inference.trainer import Phase
from groundvae.models.catalogue import find_system

TARGET = 0.25
DRAWS = 20


@dataclass(frozen=True)
class Options:
    """What to time."""

    seed: int = 0
    threads: int = 2
    steps: int | None = None
    """Steps of the schedule; default the published fit."""


@torch.no_grad()
def validation_sse(run: Run, batch: Batch) -> float:
    """Squared error of the posterior mean prediction, summed over a series, mean over series."""
    with torch.random.fork_rng(), plate("draw", DRAWS, dim=-2):
        torch.manual_seed(0)
        guide_trace = poutine.trace(run.guide).get_trace(batch)
        decoded = poutine.replay(run.model, trace=guide_trace)(batch, reduced=False)
    return float((decoded.full.mean(0) - batch.x).pow(2).sum(-1).mean())


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    entry = find_system("pendulum")
    train, valid = Batch.of(entry.simulate(*TRAIN)), Batch.of(entry.simulate(*VALID))
    settings = FitOptions(seed=options.seed, validate_every=50)
    if options.steps is not None:
        settings = replace(settings, steps=options.steps)
    run = new_run(RunConfig("pendulum", length=train.x.shape[1], options=settings))
    console = Console()
    reached: list[float] = []
    measuring = 0.0  # seconds spent on measuring, which a fit does not spend
    start = time.perf_counter()

    def watch(phase: Phase, step: int, terms: dict[str, float]) -> None:
        nonlocal measuring
        began = time.perf_counter()
        seconds = began - start - measuring
        sse = validation_sse(run, valid)
        if sse <= TARGET and not reached:
            reached.append(seconds)
        console.print(
            f"{phase.name} {step}  {seconds:.1f} s  validation SSE {sse:.3f}", highlight=False
        )
        measuring += time.perf_counter() - began

    result = fit(run.model, run.guide, run.loss(), train, valid, settings, watch)
    seconds = result.seconds - measuring
    console.print(f"steps per second: {result.steps / seconds:.1f}")
    when = f"{reached[0]:.0f} s" if reached else "not reached"
    console.print(f"seconds to a validation SSE of {TARGET}: {when}")
    console.print(f"whole fit: {seconds:.0f} s; validation SSE {validation_sse(run, valid):.3f}")
    console.print(f"peak memory: {peak_memory_mb():.0f} MB")


if __name__ == "__main__":
    main(tyro.cli(Options))
