"""How good generation is: the model beside a normal in principal components, and the training set.

``python benchmarks/generation.py gait galaxy --seeds 0 1 2 [--root DIR] [--run RUN] [--variants
nn-only physics-only]``. One line of JSON a fit, of the default variant unless others are named.
Each set is compared with observations that nobody fitted, in 20 components of the training set;
``energy_ratio`` is the energy distance of what was made over that of the training set, both means
over unseen sets (one, of measured data), each beside observations made anew; ``seconds_10000`` is
what ten thousand samples take. ``toy`` and ``bimodal`` are no systems: numbers of a known
population, and pendulums of a known one of omega, learned from noisy observations.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy.stats import wasserstein_distance

from groundvae.cli.source import default_splits, simulated
from groundvae.data import pendulum
from groundvae.data.dataset import Dataset
from groundvae.data.root import Splits
from groundvae.diagnostics.generation import baseline, control, judge_generation
from groundvae.inference.deconvolution import Likelihoods, deconvolve
from groundvae.inference.fit import fit
from groundvae.inference.generation import as_dataset, generate
from groundvae.inference.population import Places
from groundvae.inference.run import Run, load_run
from groundvae.models.catalogue import Entry
from groundvae.models.circle import difference
from groundvae.models.ownfile import find_system
from groundvae.physics.galaxy import PERIOD

UNSEEN = 1000, tuple(range(831, 847))  # size and seeds of simulated sets that nobody fits: of four
# the ratio of energies differed by half from one draw of sets to the next
VALIDATION = 1000, (821, 822, 823, 824)  # those that choices are made on
ELONGATED = 0.7  # axis ratio, below which an image has a position angle to speak of
ANGLES = 200
MIDDLES, WIDTHS, SHARE = (1.2, 2.3), (0.12, 0.25), 0.4  # of two kinds of pendulums, rad/s
SERIES, TOY = 1000, 1000  # observed
ERRORS = 0.15, 0.45  # of the toy's observations, of the same unit
DRAWN = 100_000  # of a known population, and of one that was learned


def turned(run: Run) -> dict[str, float]:
    """Share of elongated images whose angle by moments is within 5 and 10 degrees of that set."""
    angles = np.linspace(0.0, PERIOD, ANGLES, endpoint=False) + PERIOD / (2 * ANGLES)
    made = as_dataset(generate(run, ANGLES, chosen={"position_angle": angles}), run)
    measured = run.entry.source.measure(made)
    off = np.abs(difference(measured["position_angle"], angles, PERIOD))
    off = np.rad2deg(off[measured["axis_ratio"] < ELONGATED])
    found = {f"angle_within_{limit}": float((off < limit).mean()) for limit in (5, 10)}
    return found | {"elongated": len(off) / ANGLES}


def bimodal(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draws (n,) of a known population: two kinds, rad/s."""
    kind = (rng.random(n) < SHARE).astype(int)
    return rng.normal(np.take(MIDDLES, kind), np.take(WIDTHS, kind))


def off_the_known(found: np.ndarray, seen: np.ndarray) -> dict[str, float]:
    """Wasserstein distances over the spread of the population, of what was learned and seen."""
    truth = bimodal(DRAWN, np.random.default_rng(99))
    sets = {"wasserstein": found, "wasserstein_seen": seen}
    return {k: float(wasserstein_distance(v, truth) / truth.std()) for k, v in sets.items()}


def toy(seed: int) -> dict[str, float]:
    """Numbers with errors of their own: what was seen is wider than what there is."""
    rng = np.random.default_rng(seed)
    error = rng.uniform(*ERRORS, (TOY, 1))
    seen = torch.as_tensor(bimodal(TOY, rng)[:, None] + error * rng.normal(size=error.shape))
    known = torch.as_tensor(1 / error**2)
    line = torch.tensor([torch.inf], dtype=torch.float64)
    found = deconvolve(Likelihoods(torch.diag_embed(known), known * seen, seen, line), seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return off_the_known(found.sample(DRAWN)[:, 0].numpy(), seen[:, 0].numpy())


def two_kinds(seed: int) -> dict[str, float]:
    """Pendulums of two kinds, and the default fit of them."""
    rng = np.random.default_rng(100 + seed)
    truth = {name: rng.uniform(*bounds, SERIES) for name, bounds in pendulum.RANGES.items()}
    truth["omega"] = bimodal(SERIES, rng)
    x = pendulum.solve(truth, pendulum.TIMES)
    x = x + pendulum.NOISE * rng.standard_normal(x.shape)
    data = Dataset(x.astype(np.float32), {"t": pendulum.TIMES}, truth)
    held = SERIES // 5
    run = fit(
        "pendulum",
        data.subset(np.arange(held, SERIES)),
        valid=data.subset(np.arange(held)),
        seed=seed,
    )
    assert run.population is not None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        drawn = run.population.mixture.sample(DRAWN)
    omega = Places(run, run.population.free).scores["omega"].value(drawn[:, 0])
    return off_the_known(omega.numpy(), truth["omega"][held:]) | {"fit_seconds": run.fit.seconds}


def unseen_sets(entry: Entry, splits: Splits, *, choosing: bool) -> list[np.ndarray]:
    """Observations that nobody fitted; where they are few, validation ones too."""
    if entry.source.splits:
        return [splits.valid.x if choosing else np.concatenate([splits.test.x, splits.valid.x])]
    n, seeds = VALIDATION if choosing else UNSEEN
    return [simulated(entry, n, seed).x for seed in seeds]


def judged(run: Run, train: np.ndarray, unseen: list[np.ndarray], seed: int) -> dict[str, float]:
    """What the model, its priors, a normal in components and the training set are like."""
    n, numbers = len(train), len(run.model.latents) + run.model.auxiliary
    found: dict[str, list[float]] = {}
    for i, other in enumerate(unseen):
        sets = {
            "model": as_dataset(generate(run, n, seed=seed + 1000 * i), run).x,
            "pca": baseline(train, numbers, n, seed + 1000 * i),
            "train": train,
        }
        if not i:
            sets["prior"] = as_dataset(generate(run, n, seed=seed, origin="prior"), run).x
        for who, x in sets.items():
            for what, value in judge_generation(x, train, other).items():
                found.setdefault(f"{who}_{what}", []).append(value)
    means = {name: round(float(np.mean(values)), 5) for name, values in found.items()}
    for who in ("model", "pca"):
        means[f"{who}_energy_ratio"] = means[f"{who}_energy"] / means["train_energy"]
    return means


def measure(
    name: str,
    seed: int,
    root: Path | None,
    folder: Path | None,
    *,
    variant: str = "",
    choosing: bool = False,
) -> dict[str, float]:
    """Fit one system's ``variant`` at its defaults, or take a run, and judge what it makes."""
    if name in KNOWN:
        return KNOWN[name](seed)
    entry = find_system(name)
    splits = default_splits(entry, root if entry.source.splits else None)
    if folder:
        run = load_run(folder)
    else:
        run = fit(name, splits.train, valid=splits.valid, variant=variant, seed=seed)
    found = judged(run, splits.train.x, unseen_sets(entry, splits, choosing=choosing), seed)
    for latent, (values, measured) in control(run, seed).items():
        period = next(z.period for z in run.model.latents if z.name == latent)
        off = measured - values if period is None else difference(measured, values, period)
        found[f"control_{latent}"] = float(np.median(np.abs(off)))
    if name == "galaxy":
        found |= turned(run)
    start = time.perf_counter()
    generate(run, 10_000, seed=seed)
    return found | {"seconds_10000": time.perf_counter() - start, "fit_seconds": run.fit.seconds}


KNOWN = {"toy": toy, "bimodal": two_kinds}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("systems", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--run", type=Path, default=None)
    parser.add_argument("--variants", nargs="+", default=[""])
    parser.add_argument("--choosing", action="store_true", help="judge on validation data")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for system in chosen.systems:
        for variant, seed in product(chosen.variants, chosen.seeds):
            asked = system, seed, chosen.root, chosen.run
            figures = measure(*asked, variant=variant, choosing=chosen.choosing)
            told = {"system": system, "variant": variant, "seed": seed}
            print(json.dumps(told | figures), flush=True)
