"""Speed of the default pendulum fit: steps per second, seconds to a validation SSE of 0.25.

python benchmarks/fit_speed.py [--seed 0] [--steps N] [--threads 2]
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import torch
import tyro
from pyro import plate, poutine
from rich.console import Console

from groundvae.cli.source import TRAIN, VALID
from groundvae.data.batch import Batch
from groundvae.guides.phase import Phase
from groundvae.inference.optimize import optimize, peak_memory_mb
from groundvae.inference.run import Run, RunConfig, new_run
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import FitOptions

TARGET = 0.25
DRAWS = 20


@dataclass(frozen=True)
class Options:
    """What to time."""

    seed: int = 0
    threads: int = 2
    steps: int | None = None
    """Steps of the schedule; default the published fit."""


@dataclass
class Curve:
    """Validation SSE over the seconds of a fit, those spent on measuring left out."""

    run: Run
    valid: Batch
    draws: int
    start: float = field(default_factory=time.perf_counter)
    measuring: float = 0.0
    points: list[tuple[float, float]] = field(default_factory=list)

    def __call__(self, phase: Phase, step: int, terms: dict[str, float]) -> None:
        began = time.perf_counter()
        seconds = began - self.start - self.measuring
        sse = validation_sse(self.run, self.valid, self.draws)
        self.points.append((seconds, sse))
        print(f"{phase.name} {step}  {seconds:.1f} s  validation SSE {sse:.3f}", flush=True)
        self.measuring += time.perf_counter() - began


def first(points: list[tuple[float, float]], target: float) -> float | None:
    """Seconds until the SSE first was ``target`` or less."""
    return next((seconds for seconds, sse in points if sse <= target), None)


@torch.no_grad()
def validation_sse(run: Run, batch: Batch, draws: int) -> float:
    """Squared error of the mean of some predictions, summed over a series, mean over series."""
    with torch.random.fork_rng(), plate("draw", draws, dim=-2):
        torch.manual_seed(0)
        guide_trace = poutine.trace(run.guide).get_trace(batch)
        decoded = poutine.replay(run.model, trace=guide_trace)(batch, reduced=False)
    return float((decoded.full.mean(0) - batch.x).pow(2).sum(-1).mean())


def settings(seed: int) -> FitOptions:
    """Of the published fit, looked at often."""
    return replace(find_system("pendulum").variant().recipe.options, seed=seed, validate_every=50)


def watched_fit(train: Batch, valid: Batch, options: FitOptions, draws: int) -> Curve:
    """The default fit, and its curve."""
    entry = find_system("pendulum")
    recipe = replace(entry.variant().recipe, options=options)
    run = new_run(RunConfig("pendulum", train.x.shape[1], entry.usual, recipe))
    curve = Curve(run, valid, draws)
    run.fit = optimize(run.model, run.guide, run.loss(), train, valid, options, curve)
    return curve


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    entry = find_system("pendulum")
    train, valid = Batch.of(entry.source.simulate(*TRAIN)), Batch.of(entry.source.simulate(*VALID))
    chosen = settings(options.seed)
    if options.steps is not None:
        chosen = replace(chosen, steps=options.steps)
    curve = watched_fit(train, valid, chosen, DRAWS)
    result = curve.run.fit
    seconds = result.seconds - curve.measuring
    reached = first(curve.points, TARGET)
    console = Console(highlight=False)
    console.print(f"steps per second, all phases: {result.steps / seconds:.1f}")
    when = "not reached" if reached is None else f"{reached:.0f} s"
    console.print(f"seconds to a validation SSE of {TARGET}: {when}")
    sse = validation_sse(curve.run, valid, DRAWS)
    console.print(f"whole fit: {seconds:.0f} s; validation SSE {sse:.3f}")
    console.print(f"peak memory: {peak_memory_mb():.0f} MB")


if __name__ == "__main__":
    main(tyro.cli(Options))
