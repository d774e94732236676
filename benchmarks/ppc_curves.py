"""Draws what the weight of R_PPC does, against what the residual may see.

Reads the rows that ``ablation.py`` left; a weight that was not measured is no point.

    python benchmarks/ppc_curves.py runs/ablation.csv --out docs/figures/ppc.png
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import tyro
from ablation import PPC
from matplotlib.figure import Figure
from paper_table import read

from groundvae.diagnostics.style import BAND, headline, house_style, save_figure

RESIDUALS: Mapping[str, str] = {  # how rows of a residual are named after the weight: legend
    "": "one wave and friction (default)",
    ", neural residuals of velocity and time": "neural: velocity, time",
    ", neural residuals of angle, velocity and time": "neural: angle, velocity, time",
}
PANELS: Mapping[str, str] = {
    "reconstruction_sse": "SSE (rad$^2$)",
    "omega_mae": "MAE of omega (rad/s)",
    "omega_cov90": "90 % intervals of omega hold",
}
MARKERS = "osD"
SMALLEST = min(weight for weight in PPC if weight)


@dataclass(frozen=True)
class Options:
    """What to draw."""

    rows: Annotated[tuple[Path, ...], tyro.conf.Positional]
    out: Path = Path("ppc.png")


def weights_of(rows: Sequence[Mapping[str, str]], residual: str) -> dict[float, Mapping[str, str]]:
    """The row of each weight that was measured; 0.0001 is the default's own."""
    found = {row["ablation"]: row for row in rows}
    names = {weight: f"ppc {weight:g}{residual}" for weight in PPC}
    if not residual:
        names[SMALLEST] = "default"
    return {weight: found[name] for weight, name in names.items() if name in found}


def draw(rows: Sequence[Mapping[str, str]]) -> Figure:
    with house_style():
        figure, axes = plt.subplots(1, len(PANELS), figsize=(9.5, 3.1))
        for axis, (column, label) in zip(axes, PANELS.items(), strict=True):
            for (residual, legend), marker in zip(RESIDUALS.items(), MARKERS, strict=True):
                known = weights_of(rows, residual)
                values = [float(row[column]) for row in known.values()]
                axis.plot(list(known), values, marker=marker, label=legend)
            axis.set_xscale("symlog", linthresh=SMALLEST, linscale=0.6)
            axis.set_xticks(PPC, [f"{weight:g}" for weight in PPC])
            axis.minorticks_off()
            axis.set_xlabel("weight of ppc")
            axis.set_ylabel(label)
        axes[0].set_yscale("log")
        axes[1].set_ylim(bottom=0)
        axes[2].set_ylim(0, 1)
        axes[2].axhline(0.9, color=BAND, linestyle="--", linewidth=1)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        headline(figure, "What the residual may see decides more than the weight of its penalty")
    return figure


def main(options: Options) -> None:
    save_figure(draw([row for path in options.rows for row in read(path)]), options.out)


if __name__ == "__main__":
    main(tyro.cli(Options))
