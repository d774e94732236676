"""The published pendulum figures: accuracy, calibration, time and memory of the default fit.

Fits with each seed, measures on 1,000 fresh series, and sets PCA with 5 and 8 components
(fitted on the training split) beside it. Prints a table and writes it as CSV.

    python benchmarks/pendulum.py --seeds 0 1 2 --out runs/benchmark
"""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from groundvae.cli.commands import Fit
from groundvae.cli.fit import fit_and_save
from groundvae.cli.source import TEST, TRAIN
from groundvae.cli.usual import usual_options
from groundvae.data.dataset import Dataset
from groundvae.data.pendulum import TIMES, solve
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.inference.optimize import peak_memory_mb
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, load_run
from groundvae.models.intervention import Change
from groundvae.models.ownfile import find_system


@dataclass(frozen=True)
class Options:
    """Which fits to measure."""

    out: Path = Path("runs/benchmark")
    seeds: tuple[int, ...] = (0,)
    variant: str = "hybrid-told"
    threads: int = 2


def pca_sse(train: Dataset, test: Dataset, components: int) -> float:
    """SSE of a linear reconstruction from as many numbers."""
    rows, fresh = (data.x.reshape(len(data), -1).astype(float) for data in (train, test))
    mean = rows.mean(0)
    _, _, axes = np.linalg.svd(rows - mean, full_matrices=False)
    kept = axes[:components]
    centred = fresh - mean
    return float(((centred - centred @ kept.T @ kept) ** 2).sum(-1).mean())


def counterfactual_mae(run: Run, test: Dataset) -> float:
    """Error at twice the inferred omega, against the noiseless truth at twice the true omega."""
    truth = solve(dict(test.truth) | {"omega": 2 * test.truth["omega"]}, TIMES)
    options = PosteriorOptions(draws=100, predictive_draws=100)
    predicted = posterior(run, test, options, changes={"omega": Change(factor=2.0)})
    median = predicted["posterior_predictive"]["x"].median(("chain", "draw")).values
    return float(np.abs(median - truth).mean())


def measure(options: Options, seed: int, test: Dataset) -> dict[str, float]:
    folder = options.out / f"{options.variant}-{seed}"
    if not (folder / "config.json").is_file():
        settings = replace(usual_options(), seed=seed)
        asked = Fit(
            "pendulum",
            variant=options.variant,
            options=settings,
            threads=options.threads,
            out=folder,
        )
        fit_and_save(asked)
    torch.set_num_threads(options.threads)
    run = load_run(folder)
    begin = time.perf_counter()
    inference_data = posterior(run, test)
    row = {"seed": float(seed), "posterior_seconds": time.perf_counter() - begin}
    row |= compute_metrics(inference_data)
    if "omega" in run.model.latents.names:
        row["mae_at_twice_omega"] = counterfactual_mae(run, test)
    row |= {"fit_seconds": run.fit.seconds, "fit_peak_mb": run.fit.peak_memory_mb}
    return row | {"peak_mb": peak_memory_mb()}


def main(options: Options) -> None:
    entry = find_system("pendulum")
    train, test = entry.source.simulate(*TRAIN), entry.source.simulate(*TEST)
    rows = [measure(options, seed, test) for seed in options.seeds]
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / f"{options.variant}.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    table = Table("figure", *(f"seed {seed}" for seed in options.seeds), "mean", "sd")
    for name in list(rows[0])[1:]:
        values = [row[name] for row in rows]
        spread = f"{np.std(values, ddof=1):.2g}" if len(values) > 1 else "-"
        table.add_row(name, *(f"{v:.4g}" for v in values), f"{np.mean(values):.4g}", spread)
    console = Console()
    console.print(table)
    for components in (5, 8):
        sse = pca_sse(train, test, components)
        console.print(f"PCA, {components} components: SSE {sse:.3f}", highlight=False)


if __name__ == "__main__":
    main(tyro.cli(Options))
