"""The paper's comparison: its five variants on the pendulum and on advection-diffusion, over seeds.

Restartable: every finished row stands in the CSV, and a row that is there is not fitted again.
Prints mean and standard deviation over seeds, beside them what re-runs of the method's public
code gave (``public_code.csv``) and PCA of as many numbers, and writes the same as Markdown
beside the CSV.

    python benchmarks/paper_table.py --seeds 0 1 2 3 4 --out runs/paper_table.csv
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import pendulum
import systems
import torch
import tyro

from groundvae.cli.source import TEST, TRAIN
from groundvae.data.atomic import replacing
from groundvae.models.ownfile import find_system

Row = dict[str, str]
KEYS = ("system", "variant", "seed")
VARIANTS = ("physics-only", "nn-only", "nn-solver", "hybrid", "hybrid-reg", "hybrid-told")
FIGURES: Mapping[str, Mapping[str, str]] = {
    "pendulum": {
        "reconstruction_sse": "SSE",
        "reconstruction_mae": "MAE",
        "omega_mae": "omega MAE",
        "omega_crps": "CRPS",
        "omega_cov50": "cov50",
        "omega_cov90": "cov90",
        "mae_at_twice_omega": "MAE at omega x 2",
        "fit_seconds": "fit, s",
    },
    "advection_diffusion": {
        "reconstruction_sse": "SSE",
        "reconstruction_mae": "MAE",
        "diffusion_mae": "D MAE",
        "diffusion_cov90": "cov90",
        "extrapolation_mae": "extrapolation MAE",
        "counterfactual_mae": "MAE at D x 2",
        "fit_seconds": "fit, s",
    },
}
PUBLIC_CODE = Path(__file__).with_name("public_code.csv")
COMPONENTS = {"pendulum": (5, 8), "advection_diffusion": (5, 6)}


@dataclass(frozen=True)
class Options:
    """Which rows to fit."""

    out: Path = Path("runs/paper_table.csv")
    systems: tuple[str, ...] = tuple(FIGURES)
    variants: tuple[str, ...] = VARIANTS
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    threads: int = 2


def measure(system: str, variant: str, seed: int, options: Options) -> dict[str, float]:
    """All figures of one fit."""
    if system != "pendulum":
        return systems.measure(system, variant, seed, None)
    runs = options.out.parent / f"{options.out.stem}-runs"
    settings = pendulum.Options(out=runs, variant=variant, threads=options.threads)
    return pendulum.measure(settings, seed, find_system("pendulum").source.simulate(*TEST))


def read(path: Path) -> list[Row]:
    """The rows that are there already."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write(rows: Sequence[Row], path: Path) -> None:
    """All rows, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def table(system: str, rows: Sequence[Row]) -> str:
    """Markdown: a line a variant, mean and standard deviation over seeds."""
    figures = FIGURES[system]
    lines = [f"| {system} | runs | " + " | ".join(figures.values()) + " |"]
    lines.append("| --- " * (len(figures) + 2) + "|")
    published = [row for row in read(PUBLIC_CODE) if row["system"] == system]
    for source, every in (("", rows), ("public code, ", published)):
        for variant in VARIANTS:
            group = [row for row in every if row["variant"] == variant]
            cells = [spread(float(r[key]) for r in group if r.get(key)) for key in figures]
            if group:
                name = f"{source}{variant}{'' if source else told(system, variant)}"
                lines.append(f"| {name} | {len(group)} | " + " | ".join(cells) + " |")
    lines += [f"| PCA, {k} components | | {pca(system, k):.3g} |" for k in COMPONENTS[system]]
    return "\n".join(lines)


def told(system: str, variant: str) -> str:
    """What a variant knew of the shape of what is missing, in brackets; "" for nothing.

    >>> told("pendulum", "hybrid-told")
    ' (told that it is one wave and a linear friction)'
    >>> told("pendulum", "hybrid-reg")
    ''
    """
    variants = find_system(system).variants
    knows = variants[variant].knows if variant in variants else ""
    return f" (told {knows})" if knows else ""


def spread(values: Iterable[float]) -> str:
    """Mean and standard deviation, as text.

    >>> spread([1.0, 3.0])
    '2 ± 1.4'
    """
    known = list(values)
    if not known:
        return ""
    return f"{mean(known):.3g}" + (f" ± {stdev(known):.2g}" if len(known) > 1 else "")


def pca(system: str, components: int) -> float:
    """Test SSE of a linear reconstruction from as many numbers."""
    simulate = find_system(system).source.simulate
    return pendulum.pca_sse(simulate(*TRAIN), simulate(*TEST), components)


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    rows = read(options.out)
    cells: list[tuple[str, str, int, Callable[[], dict[str, float]]]] = [
        (system, variant, seed, partial(measure, system, variant, seed, options))
        for seed in options.seeds
        for system in options.systems
        for variant in options.variants
        if variant in find_system(system).variants  # not every system has one that is told
    ]
    for system, variant, seed, fitted in cells:
        key = {"system": system, "variant": variant, "seed": str(seed)}
        if any(all(row[name] == value for name, value in key.items()) for row in rows):
            continue
        figures = {name: f"{value:.6g}" for name, value in fitted().items() if name != "seed"}
        rows.append(key | figures)
        write(rows, options.out)
        print(f"{system} {variant} seed {seed}: SSE {figures['reconstruction_sse']}", flush=True)
    pages = [table(s, [r for r in rows if r["system"] == s]) for s in options.systems]
    text = "\n\n".join(pages)
    with replacing(options.out.with_suffix(".md")) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(Options))
