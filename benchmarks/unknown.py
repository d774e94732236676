"""Hidden laws: does the posterior of the physics hold, whatever it is that is missing?

    python benchmarks/unknown.py --out runs/unknown [--laws wave step ...] [--seeds 0 1 2]

Every law of ``laws.py``, ``laws_fresh.py`` and ``laws_fields.py`` is fitted by
``hybrid-evidence``, all with the same defaults, on fresh simulations of each seed; nothing of the
law is told but the physics it is about. Beside it stand the physics alone, with noise of any size,
and an oracle that is told the law (``oracle.py``). ``beyond`` and ``changed`` are predictions where
no data are (``ahead.py``). What is there already is not made again. Writes one JSON a fit,
``table.csv``, ``table.md`` and ``coverage.png``.
"""

from __future__ import annotations

import json
import runpy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro
from laws import Law
from laws_fields import LAWS as FIELDS
from laws_fields import FieldLaw
from laws_fresh import MOTIONS as LAWS
from oracle import told

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "run.py"))["expose_checkout"]()

import matplotlib.pyplot as plt
from ahead import ahead

import groundvae as gv
from groundvae.diagnostics.score import coverage, crps
from groundvae.diagnostics.style import house_style, save_figure
from groundvae.inference.posterior import PosteriorOptions
from groundvae.models.recipe import EVIDENCE
from groundvae.models.system import System
from groundvae.models.systems.advection_diffusion import NonlinearLine
from groundvae.models.systems.pendulum import Pendulum

METHODS = ("evidence", "physics-only", "oracle")


@dataclass(frozen=True)
class Options:
    """What to fit."""

    out: Path = Path("runs/unknown")
    """Folder of the results."""
    laws: tuple[str, ...] = (*LAWS, *FIELDS)
    """Hidden laws."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of simulations and fits."""
    methods: tuple[str, ...] = METHODS
    """``evidence``, ``physics-only`` and ``oracle``."""
    series: int = 200
    """Observations fitted, and half as many to validate on."""
    test: int = 200
    """Observations scored."""
    threads: int = 1
    """Processor threads."""
    device: str = "cpu"
    """Where fits run: cpu or cuda."""


class Spring(gv.Dynamics):
    """A mass on a spring."""

    omega = gv.Latent(gv.LogNormal(0.5, 0.5), unit="rad/s", meaning="sqrt(k / m)")
    start = gv.Latent(gv.Normal(0.0, 1.0), unit="m", meaning="where the mass is let go")
    states = ("position", "velocity")
    observed = "position"

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {"position": z.start, "velocity": 0.0}

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        return {"position": state.velocity, "velocity": -(z.omega**2) * state.position}


class Oscillator(Spring):
    """A mass on a spring with a linear friction, both known."""

    gamma = gv.Latent(gv.LogNormal(-1.0, 0.7), unit="1/s", meaning="friction")

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        force = -(z.omega**2) * state.position - z.gamma * state.velocity
        return {"position": state.velocity, "velocity": force}


class Lotka(gv.Dynamics):
    """Prey and predators, in units of their own."""

    alpha = gv.Latent(gv.LogNormal(0.0, 0.5), unit="1/year", meaning="growth of the prey")
    beta = gv.Latent(gv.LogNormal(-0.7, 0.5), unit="1/year", meaning="what a predator eats")
    gamma = gv.Latent(gv.LogNormal(-0.2, 0.5), unit="1/year", meaning="death of predators")
    delta = gv.Latent(gv.LogNormal(-0.9, 0.5), unit="1/year", meaning="what prey is worth")
    prey0 = gv.Latent(gv.LogNormal(0.7, 0.5), unit="1", meaning="prey at the start", name="prey")
    hunters0 = gv.Latent(gv.LogNormal(0.0, 0.5), meaning="predators at first", name="hunters")
    states = ("preys", "predators")
    observed = ("preys", "predators")

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {"preys": z.prey, "predators": z.hunters}

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        eaten = state.preys * state.predators
        return {
            "preys": z.alpha * state.preys - z.beta * eaten,
            "predators": z.delta * eaten - z.gamma * state.predators,
        }


PHYSICS: Mapping[str, tuple[type[System], str]] = {
    "pendulum": (Pendulum, "velocity"),
    "spring": (Spring, "velocity"),
    "oscillator": (Oscillator, "velocity"),
    "lotka": (Lotka, "preys"),
}


def law_of(law: str) -> Law | FieldLaw:
    """A hidden law by its name."""
    return LAWS[law] if law in LAWS else FIELDS[law]


def data_of(law: str, n: int, seed: int) -> tuple[gv.Dataset, dict[str, np.ndarray]]:
    """Observations of a law, with the true latents of its physics; and all that was drawn."""
    drawn = law_of(law).simulate(n, seed)
    names = system_of(law)().latents.names
    truth = {k: v for k, v in drawn.items() if k in names}
    axes = {k: drawn[k] for k in ("t", "s") if k in drawn}
    return gv.Dataset(np.asarray(drawn["x"], dtype=np.float32), axes, truth), drawn


def system_of(law: str) -> type[System]:
    """The known physics of a law."""
    return PHYSICS[LAWS[law].physics][0] if law in LAWS else NonlinearLine


def model_of(law: str, method: str) -> gv.GreyBox:
    """What is fitted: the physics, and beside it nothing or something unknown."""
    system = system_of(law)()
    if method == "physics-only":
        return gv.GreyBox(system, (), gv.Gaussian())
    if law in FIELDS:
        from groundvae.models.residuals import UnknownField

        return gv.GreyBox(system, UnknownField("y", spacing=0.1), gv.Gaussian(0.02))
    return gv.GreyBox(system, gv.Unknown(PHYSICS[LAWS[law].physics][1]), gv.Gaussian())


def measure(law: str, method: str, seed: int, options: Options) -> dict[str, float]:
    """One fit, scored on fresh observations."""
    if method == "oracle":
        return told(law_of(law), options.test, 1000 * seed + 12)
    sizes = (options.series, options.series // 2, options.test)
    made = [data_of(law, n, 1000 * seed + 10 + i) for i, n in enumerate(sizes)]
    (train, _), (valid, _), (test, drawn_test) = made
    start = time.perf_counter()
    run = gv.fit(
        model_of(law, method), train, valid=valid, recipe=EVIDENCE, seed=seed, device=options.device
    )
    fitted = time.perf_counter()
    drawn = gv.posterior(run, test, PosteriorOptions(draws=500, predictive_draws=50))
    row = {"fit_s": fitted - start, "posterior_s": time.perf_counter() - fitted}
    posterior = drawn["posterior"]
    for name, truth in test.truth.items():
        draws = posterior[name].values[0].astype(float)
        row |= {
            f"{name}_mae": float(np.abs(np.median(draws, 0) - truth).mean()),
            f"{name}_crps": float(crps(draws, truth).mean()),
            f"{name}_cov50": coverage(draws, truth, 0.5),
            f"{name}_cov90": coverage(draws, truth, 0.9),
        }
    error = drawn["posterior_predictive"]["x"].mean(("chain", "draw")).values - test.x
    square = (error**2).reshape(len(test), -1).sum(1)
    row["sse_median"] = float(np.nanmedian(square))
    return row | ahead(law_of(law), run, test, drawn_test)


def table(options: Options) -> pd.DataFrame:
    """Everything that is measured by now, a row for each latent of each law: mean and spread."""
    rows = []
    for path in sorted(options.out.glob("*.json")):
        law, method, seed = path.stem.split("__")
        values = json.loads(path.read_text(encoding="utf-8"))
        for key in values:
            if key.endswith("_mae"):
                name = key.removesuffix("_mae")
                own = {
                    k.removeprefix(f"{name}_"): v
                    for k, v in values.items()
                    if k.startswith(f"{name}_")
                }
                common = {k: values.get(k) for k in ("sse_median", "fit_s", "posterior_s")}
                rows.append(
                    {"law": law, "method": method, "latent": name, "seed": seed, **own, **common}
                )
    return pd.DataFrame(rows)


def plot(found: pd.DataFrame, path: Path) -> None:
    """Coverage of every latent of every law, each seed a point."""
    found = found[~found["latent"].isin(("beyond", "changed"))]
    grey = found[found["method"] == "evidence"]
    labels = list(dict.fromkeys(f"{r.law}, {r.latent}" for r in grey.itertuples()))
    held = grey.groupby(["law", "latent"])["cov90"].mean()
    inside = int(((held >= 0.82) & (held <= 0.98)).sum())
    with house_style():
        figure, axes = plt.subplots(figsize=(6.0, 1.0 + 0.2 * len(labels)))
        axes.axvspan(0.82, 0.98, color="0.9")
        axes.axvline(0.9, color="black", lw=1, ls="--")
        for method, marker in (("physics-only", "x"), ("evidence", "o")):
            some = found[found["method"] == method]
            places = [labels.index(f"{r.law}, {r.latent}") for r in some.itertuples()]
            axes.plot(some["cov90"], places, marker, ms=4, label=method, ls="")
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.set_xlabel("share of true values inside the 90 % interval")
        axes.set_title(f"{inside} of {len(held)} latents held within 0.82 .. 0.98, told nothing")
        axes.legend(loc="lower left")
    save_figure(figure, path)


def main(options: Options) -> None:
    """Fit what is missing, then write the table and the figure."""
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for law in options.laws:
            for method in options.methods:
                path = options.out / f"{law}__{method}__{seed}.json"
                if path.is_file():
                    continue
                try:
                    row = measure(law, method, seed, options)
                except ArithmeticError as error:
                    print(f"{law} {method} {seed}: failed, {error}", flush=True)
                    continue
                path.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
                shown = {k: round(v, 4) for k, v in row.items()}
                print(law, method, seed, shown, flush=True)
    found = table(options)
    found.to_csv(options.out / "table.csv", index=False)
    columns = ["mae", "crps", "cov50", "cov90", "sse_median", "fit_s", "posterior_s"]
    means = found.groupby(["law", "method", "latent"], sort=False)[columns].mean()
    best = means.xs("oracle", level="method")["crps"] if "oracle" in options.methods else None
    means["over oracle"] = means["crps"] / best if best is not None else np.nan
    names = [*means.index.names, *means.columns]
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for key, row in means.iterrows():
        cells = ("" if np.isnan(v) else f"{v:.3g}" for v in row)
        lines.append("| " + " | ".join([*key, *cells]) + " |")
    (options.out / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    plot(found, options.out / "coverage.png")


if __name__ == "__main__":
    main(tyro.cli(Options))
