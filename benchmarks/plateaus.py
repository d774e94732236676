"""Does any fit end on a plateau and say nothing? Every guide on every variant of a system.

    python benchmarks/plateaus.py [--system pendulum] [--steps 300] [--seeds 0]

Short fits, so that many end where more could be explained. Of each: the mean squared error summed
over a fresh series, over what the noise alone leaves; what the fit itself warns of; and whether it
is silent, that is, leaves more than ``FAR`` times the noise and warns of nothing. Writes
``SYSTEM.csv``; a row that is there is not fitted again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro

from groundvae.cli.source import TEST, TRAIN, VALID
from groundvae.data.errors import InputError
from groundvae.guides.catalogue import GUIDES
from groundvae.inference.fit import execute, prepare
from groundvae.inference.plateau import leftover, told
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.models.ownfile import find_system

FAR = 10.0  # times what the noise leaves, beyond which a fit has not explained its data
NOISES = {"pendulum": 0.01, "advection_diffusion": 0.001}  # rad; no unit: of the simulators
FEW = PosteriorOptions(draws=50, predictive_draws=50)
Row = dict[str, str | float]


@dataclass(frozen=True)
class Options:
    """What to fit."""

    out: Path = Path("runs/plateaus")
    """Folder of the results."""
    system: str = "pendulum"
    """Whose variants."""
    guides: tuple[str, ...] = tuple(GUIDES)
    """By name."""
    variants: tuple[str, ...] = ()
    """By name; all if there are none."""
    seeds: tuple[int, ...] = (0,)
    """Of fits."""
    steps: int = 300
    """Of each."""
    series: int = 300
    """Observations fitted, half as many to validate on, and as many to test."""


def measure(guide: str, variant: str, seed: int, options: Options) -> Row:
    """One fit: what it leaves, and what it says of itself."""
    source = find_system(options.system).source
    half = options.series // 2
    train, valid, test = (
        source.simulate(n, s)
        for n, s in ((options.series, TRAIN[1]), (half, VALID[1]), (half, TEST[1] + 7000))
    )
    recipe = find_system(options.system).variant(variant).recipe
    short = replace(recipe, options=replace(recipe.options, steps=options.steps, batch_size=100))
    row: Row = {"guide": guide, "variant": variant, "seed": seed}
    start = time.perf_counter()
    try:
        run = prepare(options.system, train, variant=variant, recipe=short, guide=guide, seed=seed)
        run = execute(run, train, valid)
    except InputError as error:
        return row | {"refused": str(error)}
    row["fit_s"] = time.perf_counter() - start
    drawn = posterior(run, test, FEW)
    error = drawn["posterior_predictive"]["x"].mean(("chain", "draw")).values - test.x
    sse = float(np.square(error).reshape(len(test), -1).sum(1).mean())
    over = sse / (test.x[0].size * NOISES[options.system] ** 2)
    warns = told(run, valid)
    return row | {
        "sse": sse,
        "over_noise": over,
        "correlation": leftover(run, test, drawn),
        "silent": over > FAR and not warns,
        "warns": warns,
    }


def main(options: Options) -> None:
    """Fit what is missing, then say which fits are silent."""
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    variants = options.variants or tuple(find_system(options.system).variants)
    for seed, variant, guide in product(options.seeds, variants, options.guides):
        path = options.out / f"{options.system}__{variant}__{guide}__{seed}.json"
        if path.is_file():
            continue
        try:
            row = measure(guide, variant, seed, options)
        except ArithmeticError as error:
            row = {"guide": guide, "variant": variant, "seed": seed, "refused": str(error)}
        path.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
        print(row, flush=True)
    files = sorted(options.out.glob(f"{options.system}__*.json"))
    table = pd.DataFrame([json.loads(p.read_text(encoding="utf-8")) for p in files])
    table.to_csv(options.out / f"{options.system}.csv", index=False)
    fitted = table[table["over_noise"].notna()]
    far = fitted[fitted["over_noise"] > FAR]
    print(f"{len(fitted)} fits, {len(far)} on a plateau, {int(far['silent'].sum())} of them silent")


if __name__ == "__main__":
    main(tyro.cli(Options))
