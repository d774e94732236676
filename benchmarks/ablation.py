"""What made the pendulum's posterior accurate and calibrated: one change at a time.

Every row fits the default model with one choice undone, and is measured on 1,000 fresh series.
Restartable: rows that are in the CSV already are not fitted again.

    python benchmarks/ablation.py --seeds 0 1 --steps 1500 --out runs/ablation.csv
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import tyro
from pendulum import counterfactual_mae
from rich.console import Console
from rich.table import Table
from torch import Tensor

from groundvae.cli.source import TEST, TRAIN, VALID
from groundvae.data.batch import Batch
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.inference.fit import fit
from groundvae.inference.posterior import posterior
from groundvae.inference.run import Run, RunConfig, new_run
from groundvae.inference.schedule import FitOptions
from groundvae.models.catalogue import find_system
from groundvae.models.network import FourierTime
from groundvae.models.pendulum import AUXILIARY, Pendulum
from groundvae.models.residual import BoundResidual, HarmonicResidual, NeuralResidual

COLUMNS = ("reconstruction_sse", "omega_mae", "omega_crps", "omega_cov50", "omega_cov90")


class ConstantForce(HarmonicResidual):
    """The default residual, its force not scaled with omega squared."""

    def bind(
        self,
        auxiliary: Tensor,
        times: Tensor | None,
        *,
        stiffness: Tensor | float = 1.0,
        gate: Tensor | float = 1.0,
    ) -> BoundResidual:
        return super().bind(auxiliary, times, stiffness=1.0, gate=gate)


def free(states: tuple[int, ...]) -> Pendulum:
    residual = NeuralResidual(AUXILIARY, states=states, time=FourierTime(), scale=10.0)
    return Pendulum(dynamics=residual)


def observed(residual: NeuralResidual) -> Pendulum:
    return Pendulum(dynamics=HarmonicResidual(AUXILIARY), observation=residual)


@dataclass(frozen=True)
class Ablation:
    """One choice undone: other weights of penalties, or another system."""

    weights: Mapping[str, float] = field(default_factory=dict)
    system: Callable[[], Pendulum] = lambda: Pendulum(dynamics=HarmonicResidual(AUXILIARY))


ABLATIONS: Mapping[str, Ablation] = {
    "default": Ablation(),
    "hybrid_simulation 1": Ablation({"hybrid_simulation": 1.0}),
    "hybrid_simulation 0": Ablation({"hybrid_simulation": 0.0}),
    "physics_simulation 0.1": Ablation({"physics_simulation": 0.1}),
    "ppc 0.01": Ablation({"ppc": 0.01}),
    "residual on the observation, sees z": Ablation(
        system=lambda: observed(NeuralResidual(AUXILIARY, states=(0, 1), scale=0.1, width=32))
    ),
    "residual on the observation, state and time": Ablation(
        system=lambda: observed(
            NeuralResidual(0, states=(0, 1), time=FourierTime(8), scale=0.1, width=32)
        )
    ),
    "force not scaled with omega squared": Ablation(
        system=lambda: Pendulum(dynamics=ConstantForce(AUXILIARY))
    ),
    "two waves": Ablation(system=lambda: Pendulum(dynamics=HarmonicResidual(AUXILIARY, waves=2))),
    "neural residual of velocity and time": Ablation(system=lambda: free((1,))),
    "neural residual of angle, velocity and time": Ablation(system=lambda: free((0, 1))),
}


@dataclass(frozen=True)
class Options:
    """Which rows to measure."""

    out: Path = Path("runs/ablation.csv")
    seeds: tuple[int, ...] = (0,)
    steps: int = 1500
    threads: int = 2
    only: tuple[str, ...] = tuple(ABLATIONS)


def fitted(ablation: Ablation, options: FitOptions) -> Run:
    """The default run with its system and weights replaced, and trained."""
    entry = find_system("pendulum")
    run = new_run(RunConfig("pendulum", length=50, weights=ablation.weights, options=options))
    torch.manual_seed(options.seed)
    system = ablation.system()
    system.grounding = run.model.grounding
    run.model.system = system
    train, valid = Batch.of(entry.simulate(*TRAIN)), Batch.of(entry.simulate(*VALID))
    run.fit = fit(run.model, run.guide, run.loss(), train, valid, options)
    return run


def measure(name: str, seed: int, steps: int) -> dict[str, str | float]:
    run = fitted(ABLATIONS[name], FitOptions(seed=seed, steps=steps))
    test = find_system("pendulum").simulate(*TEST)
    metrics = compute_metrics(posterior(run, test))
    row: dict[str, str | float] = {"ablation": name, "seed": seed, "steps": steps}
    row |= {column: metrics[column] for column in COLUMNS}
    twice = counterfactual_mae(run, test)
    return row | {"mae_at_twice_omega": twice, "fit_seconds": run.fit.seconds}


def load(path: Path) -> list[dict[str, str | float]]:
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return [dict(row) for row in csv.DictReader(stream)]


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    rows = load(options.out)
    done = {(row["ablation"], str(row["seed"]), str(row["steps"])) for row in rows}
    for name in options.only:
        for seed in options.seeds:
            if (name, str(seed), str(options.steps)) in done:
                continue
            rows.append(measure(name, seed, options.steps))
            options.out.parent.mkdir(parents=True, exist_ok=True)
            with options.out.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[-1]))
                writer.writeheader()
                writer.writerows(rows)
    table = Table(*rows[0])
    for row in rows:
        numbers = list(row.values())[3:]
        table.add_row(
            str(row["ablation"]),
            str(row["seed"]),
            str(row["steps"]),
            *(f"{float(v):.3g}" for v in numbers),
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
