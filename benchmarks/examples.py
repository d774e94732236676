"""What the examples recover, beside what is known of them: a table, and docs/figures/examples.png.

Simulated ones are fitted to ``n`` observations (seed 1) and asked of as many others (seed 3), whose
truth is known. Measured ones need GROUNDVAE_DATA: gravity of dropped balls is 9.81 m/s^2;
clearance and volume of theophylline are compared with the fixed effects of Pinheiro & Bates
(2000), Mixed-effects models in S and S-PLUS, section 8.2: lCl -3.21, lKe -2.43.

    python benchmarks/examples.py --n 60
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import groundvae as gv
from groundvae.data.input import Input
from groundvae.data.root import find_folder
from groundvae.diagnostics.style import BAND, DATA, FULL, house_style, labelled, save_figure
from groundvae.inference.run import Run
from groundvae.models.latent import Latent
from groundvae.models.ownfile import find_system

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SIMULATED = ("spring", "cooling", "rlc", "lotka_volterra", "reaction_diffusion")
GRAVITY = 9.81  # m/s^2
PUBLISHED = {"clearance": float(np.exp(-3.21)), "volume": float(np.exp(-3.21 + 2.43))}
FOLDS, PATTERNS = 4, 4
OFTEN = gv.PosteriorOptions(predictive_draws=500)  # of 100, 5 % ends hold 88 % where all is right


@dataclass(frozen=True)
class Options:
    """What to measure."""

    names: tuple[str, ...] = (*SIMULATED, "ball_drops", "theophylline")
    n: int = 60
    seed: int = 0
    out: Path = Path("docs/figures/examples.png")


@dataclass(frozen=True)
class Recovered:
    """Draws (draw, observation) of one latent, and its truth (observation,)."""

    latent: Latent
    draws: np.ndarray
    truth: np.ndarray

    def holds(self, level: float) -> float:
        """How many central intervals of a level hold the truth."""
        low, high = np.quantile(self.draws, [0.5 - level / 2, 0.5 + level / 2], axis=0)
        return float(((low < self.truth) & (self.truth < high)).mean())

    def row(self) -> str:
        """Of the table."""
        error = abs(self.draws.mean(0) - self.truth).mean()
        prior = float(self.latent.prior.sample(torch.Size([2000])).std())
        name = f"{self.latent.name} ({self.latent.unit})"
        return (
            f"| {name} | {error:.3g} | {prior:.3g} | {100 * self.holds(0.9):.0f} % | "
            f"{100 * self.holds(0.5):.0f} % |"
        )


def simulated(name: str, n: int, seed: int) -> tuple[Run, list[Recovered], float]:
    """A fit of an example, what it recovers of others, and how long the fit took, s."""
    path = str(EXAMPLES / f"{name}.py")
    simulate = find_system(path).source.simulate
    assert simulate is not None
    start = time.perf_counter()
    run = gv.fit(path, simulate(n, 1), seed=seed)
    seconds = time.perf_counter() - start
    test = simulate(n, 3)
    drawn = gv.posterior(run, test)["posterior"]
    found = [Recovered(z, drawn[z.name].values[0], test.truth[z.name]) for z in run.model.latents]
    return run, found, seconds


def measured(name: str) -> gv.Dataset | None:
    """A measured record, where it is found."""
    folder = find_folder("measured")
    if folder is None:
        return None
    if name == "ball_drops":
        return gv.read(folder / "ball_drops.csv")
    dose = {"Dose": Input("mg/kg")}
    path = folder / "theophylline.csv"
    return gv.read(path, observation="Subject", t="Time", x="conc", inputs=dose)


def left_out(path: str, data: gv.Dataset, seed: int, pattern: int = 0) -> np.ndarray:
    """Whether 90 % bands hold samples that were not fitted, (sample,), in ``FOLDS`` fits.

    Of each observation a sample of four is left out, another in each fit; never the first. Which
    go together is a ``pattern``: neighbours never, in the first; by chance, in others.
    """
    held = []
    order = np.arange(1, data.x.shape[1]) + np.arange(len(data))[:, None]
    if pattern:
        random = np.random.default_rng(1000 + pattern)
        order = np.stack([random.permutation(order.shape[1]) for _ in range(len(data))])
    for fold in range(FOLDS):
        hidden = np.pad(order % FOLDS == fold, ((0, 0), (1, 0)))
        seen = replace(data, x=np.where(hidden, np.nan, data.x).astype(np.float32))
        run = gv.fit(path, seen, seed=seed)
        drawn = gv.posterior(run, seen, OFTEN)["posterior_predictive"]["x"]
        low, high = np.nanquantile(drawn.values[0], [0.05, 0.95], axis=0)
        there = hidden & np.isfinite(data.x)
        held.append(((low < data.x) & (data.x < high))[there])
    return np.concatenate(held)


def theophylline(data: gv.Dataset, seed: int, axes: Axes) -> list[str]:
    """Population clearance and volume against published ones, and the bands."""
    path = str(EXAMPLES / "theophylline.py")
    run = gv.fit(path, data, seed=seed)
    drawn = gv.posterior(run, data)
    rows = []
    for name, published in PUBLISHED.items():
        found = float(np.exp(np.log(drawn["posterior"][name].values).mean()))
        unit = next(z.unit for z in run.model.latents if z.name == name)
        rows.append(
            f"{name}: {found:.4f} {unit}, published {published:.4f} ({found / published - 1:+.1%})"
        )
    times, predicted = data.coordinates["t"], drawn["posterior_predictive"]["x"].values[0]
    held = [100 * left_out(path, data, seed, pattern).mean() for pattern in range(PATTERNS)]
    rows.append(
        f"90 % bands hold {np.mean(held):.1f} % of the samples left out, {min(held):.1f} to "
        f"{max(held):.1f} in {PATTERNS} patterns"
    )
    low, high = np.nanquantile(predicted, [0.05, 0.95], axis=0)
    there = np.isfinite(data.x)
    inside = ((low < data.x) & (data.x < high))[there].mean()
    rows.append(f"90 % bands hold {100 * inside:.1f} % of the samples that were fitted")
    for each, least, most in zip(times, low, high, strict=True):
        axes.fill_between(each, least, most, color=BAND, alpha=0.2, lw=0)
    axes.plot(times.T, data.x.T, "o", color=DATA, ms=2)
    axes.set(xlabel="time (h)", ylabel="concentration (mg/L)", title="theophylline, 12 people")
    return rows


def balls(data: gv.Dataset, seed: int, axes: Axes) -> list[str]:
    """Gravity, which all balls share."""
    run = gv.fit(str(EXAMPLES / "ball_drops.py"), data, seed=seed)
    drawn = gv.posterior(run, data)["posterior"]["gravity"].values[0]
    names = data.labels["observation"]
    low, middle, high = np.quantile(drawn, [0.05, 0.5, 0.95], axis=0)
    axes.errorbar(middle, range(len(names)), xerr=[middle - low, high - middle], fmt="o", ms=3)
    axes.axvline(GRAVITY, color=DATA, lw=0.8)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=6)
    axes.set(xlabel="gravity (m/s²), 90 %", title="balls from a bridge, measured")
    return [f"gravity: {drawn.mean():.2f} +- {drawn.std():.2f} m/s^2, known {GRAVITY}"]


def draw(recovered: Sequence[Recovered], title: str, axes: Axes) -> None:
    """Intervals of the first latent over its truth."""
    first = recovered[0]
    low, middle, high = np.quantile(first.draws, [0.05, 0.5, 0.95], axis=0)
    bars = [middle - low, high - middle]
    axes.errorbar(first.truth, middle, yerr=bars, fmt="o", ms=2, lw=0.7, color=FULL)
    ends = [first.truth.min(), first.truth.max()]
    axes.plot(ends, ends, color=DATA, lw=0.8)
    name = labelled(first.latent.name, first.latent.unit)
    axes.set(xlabel=f"true {name}", ylabel="posterior, 90 %", title=title)
    axes.locator_params(axis="x", nbins=4)  # long numbers ran into each other


def main(options: Options) -> None:
    torch.set_num_threads(1)
    with house_style():
        columns = min(3, len(options.names))
        rows = -(-len(options.names) // columns)
        figure = Figure(figsize=(3.4 * columns, 2.7 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).flat
        for name, axes in zip(options.names, grid, strict=False):
            if name in SIMULATED:
                run, recovered, seconds = simulated(name, options.n, options.seed)
                scale = float(run.model.noise.scale.detach())
                print(f"\n{name}: fit {seconds:.0f} s, noise {scale:.3g}\n", flush=True)
                print("| latent | mean error | prior's sd | 90 % hold | 50 % hold |")
                print("| --- | --- | --- | --- | --- |")
                print(*(each.row() for each in recovered), sep="\n", flush=True)
                draw(recovered, name.replace("_", " "), axes)
                continue
            data = measured(name)
            if data is None:
                print(f"\n{name}: no measured data, expected GROUNDVAE_DATA", flush=True)
                continue
            told = (balls if name == "ball_drops" else theophylline)(data, options.seed, axes)
            print(f"\n{name}:", *told, sep="\n", flush=True)
        for axes in list(figure.axes)[len(options.names) :]:
            axes.set_visible(False)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, options.out)


if __name__ == "__main__":
    main(tyro.cli(Options))
