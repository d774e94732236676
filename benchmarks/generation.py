"""How good generation is: the model beside a normal in principal components, and the training set.

``python benchmarks/generation.py gait galaxy --seeds 0 1 2 [--root DIR] [--run RUN]``. One line of
JSON a fit: each set is compared with observations that nobody fitted, in 20 components of the
training set; ``seconds_10000`` is what ten thousand samples take.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from groundvae.cli.source import default_splits
from groundvae.diagnostics.generation import baseline, control, judge_generation
from groundvae.inference.fit import fit
from groundvae.inference.generation import as_dataset, generate
from groundvae.inference.run import Run, load_run
from groundvae.models.circle import difference
from groundvae.models.ownfile import find_system
from groundvae.physics.galaxy import PERIOD

ELONGATED = 0.7  # axis ratio, below which an image has a position angle to speak of
ANGLES = 200


def turned(run: Run) -> dict[str, float]:
    """Share of elongated images whose angle by moments is within 5 and 10 degrees of that set."""
    angles = np.linspace(0.0, PERIOD, ANGLES, endpoint=False) + PERIOD / (2 * ANGLES)
    made = as_dataset(generate(run, ANGLES, chosen={"position_angle": angles}), run)
    measured = run.entry.source.measure(made)
    off = np.abs(difference(measured["position_angle"], angles, PERIOD))
    off = np.rad2deg(off[measured["axis_ratio"] < ELONGATED])
    found = {f"angle_within_{limit}": float((off < limit).mean()) for limit in (5, 10)}
    return found | {"elongated": len(off) / ANGLES}


def measure(name: str, seed: int, root: Path | None, folder: Path | None) -> dict[str, float]:
    """Fit one system at its defaults, or take a run, and judge what it makes."""
    entry = find_system(name)
    splits = default_splits(entry, root if entry.source.splits else None)
    run = load_run(folder) if folder else fit(name, splits.train, valid=splits.valid, seed=seed)
    unseen = splits.test.x
    if entry.source.splits:  # few: validation images chose no population
        unseen = np.concatenate([unseen, splits.valid.x])
    numbers = len(run.model.latents) + run.model.auxiliary
    n = len(splits.train)
    sets = {
        "model": as_dataset(generate(run, n, seed=seed), run).x,
        "prior": as_dataset(generate(run, n, seed=seed, origin="prior"), run).x,
        "pca": baseline(splits.train.x, numbers, n, seed),
        "train": splits.train.x,
    }
    found: dict[str, float] = {}
    for who, x in sets.items():
        judged = judge_generation(x, splits.train.x, unseen)
        found |= {f"{who}_{what}": round(value, 5) for what, value in judged.items()}
    for latent, (values, measured) in control(run, seed).items():
        period = next(z.period for z in run.model.latents if z.name == latent)
        off = measured - values if period is None else difference(measured, values, period)
        found[f"control_{latent}"] = float(np.median(np.abs(off)))
    if name == "galaxy":
        found |= turned(run)
    start = time.perf_counter()
    generate(run, 10_000, seed=seed)
    return found | {"seconds_10000": time.perf_counter() - start, "fit_seconds": run.fit.seconds}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--run", type=Path, default=None)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for system in chosen.systems:
        for seed in chosen.seeds:
            figures = measure(system, seed, chosen.root, chosen.run)
            print(json.dumps({"system": system, "seed": seed} | figures), flush=True)
