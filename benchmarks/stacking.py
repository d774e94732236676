"""Several runs of the pendulum as one posterior: equal weights and stacked ones.

Takes the folders of runs, as ``paper_table.py`` leaves them; weighs them by the densities of the
validation series and measures the mixtures on 1,000 fresh ones.

    python benchmarks/stacking.py runs/paper_table-runs/hybrid-reg-*
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from groundvae.cli.source import TEST, VALID
from groundvae.diagnostics.evidence import compute_evidence
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.inference.posterior import posterior
from groundvae.inference.run import load_run
from groundvae.inference.stacking import stack, stacking_weights
from groundvae.models.catalogue import find_system

COLUMNS = ("reconstruction_sse", "omega_mae", "omega_crps", "omega_cov50", "omega_cov90")
COLUMNS += ("theta0_cov50", "theta0_cov90")


@dataclass(frozen=True)
class Options:
    """Which runs to mix."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    threads: int = 2


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    simulate = find_system("pendulum").simulate
    valid, test = simulate(*VALID), simulate(*TEST)
    runs = [load_run(folder) for folder in options.runs]
    densities = [
        compute_evidence(posterior(run, valid)["sample_stats"]["log_weight"])["iwae"].values
        for run in runs
    ]
    posteriors = [posterior(run, test) for run in runs]
    equal = np.full(len(runs), 1 / len(runs))
    table = Table("weights", *COLUMNS)
    for weights in (equal, stacking_weights(np.stack(densities, 1))):
        metrics = compute_metrics(stack(posteriors, weights))
        name = " ".join(f"{weight:.2f}" for weight in weights)
        table.add_row(name, *(f"{metrics[column]:.4g}" for column in COLUMNS))
    Console(width=140).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
