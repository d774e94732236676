"""Do the report's answers tell intervals that hold from intervals that do not, without any truth?

    python benchmarks/trust.py --out runs/trust [--laws angle tones ...] [--seeds 0]

Every law of ``laws.py`` is fitted by three variants: ``evidence`` (a residual of unknown shape),
``reg`` (the pendulum's wave and friction; for other physics a network) and ``physics-only``. The
report's answer on intervals is made from unseen data without their true latents, then compared with
how many true latents the 90 % intervals hold, in the worst physics latent: it is right where it is
"good" for 0.82 to 0.98 and "bad" below 0.70; in between any answer is right. Writes ``table.csv``
and keeps the runs: to ask a changed report again, remove the .json files alone.
"""

from __future__ import annotations

import json
import runpy
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro

if __name__ == "__main__":  # before anything that imports groundvae
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "run.py"))["expose_checkout"]()

from laws import LAWS
from unknown import PHYSICS, data_of, law_of, model_of, system_of

import groundvae as gv
from groundvae.diagnostics.diagnose import diagnose
from groundvae.diagnostics.score import coverage
from groundvae.inference.arviz import put_group
from groundvae.inference.posterior import PosteriorOptions
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import EVIDENCE, USUAL, Recipe
from groundvae.models.systems.pendulum import AWAKE, TOLD

VARIANTS = ("evidence", "reg", "physics-only")
HOLD, FAIL = (0.82, 0.98), 0.70


@dataclass(frozen=True)
class Options:
    """What to fit."""

    out: Path = Path("runs/trust")
    """Folder of the results."""
    laws: tuple[str, ...] = tuple(LAWS)
    """Hidden laws."""
    variants: tuple[str, ...] = VARIANTS
    """Of the model."""
    seeds: tuple[int, ...] = (0,)
    """Of simulations and fits."""
    series: int = 100
    """Observations fitted, half as many to validate on."""
    test: int = 120
    """Observations diagnosed."""


def planned(law: str, variant: str) -> tuple[gv.GreyBox, Recipe]:
    """A model and a recipe, short: what is asked for is fits of all kinds, not good ones."""

    def short(recipe: Recipe, **changes: float) -> Recipe:
        return replace(recipe, options=replace(recipe.options, batch_size=100, **changes))

    if variant == "evidence":
        return model_of(law, "evidence"), EVIDENCE
    if variant == "physics-only":
        return model_of(law, "physics-only"), short(AWAKE, steps=200, sleep=2.0)
    if law_of(law).physics == "pendulum":
        return find_system("pendulum").build("hybrid-told"), short(TOLD, steps=150)
    acts = PHYSICS[law_of(law).physics][1]
    model = gv.GreyBox(system_of(law)(), gv.Network(acts, (acts, "t")), gv.Gaussian(0.1))
    return model, short(USUAL, steps=500)


def fitted(law: str, variant: str, seed: int, options: Options) -> gv.Run:
    """The run of an earlier call, or a new one."""
    folder = options.out / "runs" / f"{law}__{variant}__{seed}"
    if folder.is_dir():
        return gv.load_run(folder)
    sizes = (options.series, options.series // 2)
    train, valid = (data_of(law, n, 1000 * seed + 10 + i)[0] for i, n in enumerate(sizes))
    model, recipe = planned(law, variant)
    run = gv.fit(model, train, valid=valid, recipe=recipe, seed=seed)
    run.save(folder)
    return run


def measure(law: str, variant: str, seed: int, options: Options) -> dict[str, str | float]:
    """One fit: what its intervals hold, and what the report says of them without their truths."""
    start = time.perf_counter()
    run = fitted(law, variant, seed, options)
    seconds = time.perf_counter() - start
    test, _ = data_of(law, options.test, 1000 * seed + 12)
    drawn = gv.posterior(run, test, PosteriorOptions(draws=300, predictive_draws=100))
    held = [
        coverage(drawn["posterior"][name].values[0].astype(float), test.truth[name], 0.9)
        for name in run.model.latents.names
    ]
    known = drawn["constant_data"]
    put_group(drawn, "constant_data", known.drop_vars([k for k in test.truth if k in known]))
    with tempfile.TemporaryDirectory() as folder:
        found = diagnose(run, drawn, Path(folder))
    said = {name: answer.level for name, answer in found.answers.items()}
    worst = held[int(np.argmax(np.abs(np.array(held) - 0.9)))]
    expected = [v for k, v in found.metrics.items() if k.endswith("_expected_cov90")]
    reason = found.answers["intervals"].check
    row = {"law": law, "variant": variant, "seed": seed, "held": worst, **said, "reason": reason}
    return row | {"expected": min(expected, default=np.nan), "fit_s": seconds}


def right(held: float, level: str) -> bool | None:
    """Whether an answer is right; None where any would be.

    >>> right(0.9, "good"), right(0.5, "doubtful"), right(0.75, "bad")
    (True, False, None)
    """
    if HOLD[0] <= held <= HOLD[1]:
        return level == "good"
    return level == "bad" if held < FAIL else None


def main(options: Options) -> None:
    """Fit, ask, and count; a result that is there already is not made again."""
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for law in options.laws:
            for variant in options.variants:
                path = options.out / f"{law}__{variant}__{seed}.json"
                if path.is_file():
                    continue
                try:
                    row = measure(law, variant, seed, options)
                except ArithmeticError as error:
                    print(f"{law} {variant} {seed}: failed, {error}", flush=True)
                    continue
                path.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
                print(row, flush=True)
    rows = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(options.out.glob("*.json"))]
    table = pd.DataFrame(rows)
    table["right"] = [right(r.held, r.intervals) for r in table.itertuples()]
    table.to_csv(options.out / "table.csv", index=False)
    judged = table["right"].dropna()
    print(f"the answer on intervals is right in {int(judged.sum())} of {len(judged)} runs")


if __name__ == "__main__":
    main(tyro.cli(Options))
