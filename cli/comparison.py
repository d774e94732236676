"""The figure of ``compare``: every group's metrics, each seed a point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from groundvae.diagnostics.style import FULL, house_style, save_figure

PANELS = 6
"""At most so many metrics are drawn, of those that are there in this order:"""
FIRST = ("reconstruction_sse", "log_evidence", "iwae", "elbo")
LAST = ("_mae", "_crps", "_cov90")
Row = dict[str, str | float]


def chosen_metrics(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """Which metrics to draw: the general ones, then all of the first physics latent, and so on."""
    there = [c for c in columns if any(_number(row, c) is not None for row in rows)]
    named = [c.removesuffix(LAST[0]) for c in there if c.endswith(LAST[0])]
    latents = [name for name in named if name != "reconstruction"]
    of_latents = [name + end for name in latents for end in LAST if name + end in there]
    return [*(c for c in FIRST if c in there), *of_latents][:PANELS]


def plot_comparison(
    rows: Sequence[Row], keys: Sequence[str], path: Path, units: Mapping[str, str]
) -> bool:
    """Write the figure; False where no cell has anything to show.

    ``keys`` name the columns whose values make a group; the other columns are measured, in
    ``units``. Points are seeds, bars their means; dashed is what is asked of coverage.
    """
    columns = list(dict.fromkeys(c for row in rows for c in row if c not in (*keys, "seed")))
    metrics = chosen_metrics(rows, columns)
    if not metrics:
        return False
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[k]) for k in keys), []).append(row)
    varying = [i for i in range(len(keys)) if len({g[i] for g in groups}) > 1]
    labels = [", ".join(g[i] for i in varying) or ", ".join(g) for g in groups]
    with house_style():
        height = 1.2 + 0.32 * len(groups)
        figure, panels = plt.subplots(
            1, len(metrics), figsize=(1.6 + 1.7 * len(metrics), height), sharey=True, squeeze=False
        )
        for axes, metric in zip(panels[0], metrics, strict=True):
            for place, group in enumerate(groups.values()):
                found = [v for row in group if (v := _number(row, metric)) is not None]
                axes.plot(found, [place] * len(found), "o", ms=4, alpha=0.6, color=FULL)
                if found:
                    axes.plot(np.mean(found), place, "|", ms=14, mew=2, color="black")
            axes.set_title(metric.replace("_", " "))
            axes.set_xlabel(units.get(metric, ""))
            if metric.endswith("_cov90"):
                axes.axvline(0.9, color="black", lw=1, ls="--")
        panels[0][0].set_yticks(range(len(groups)), labels)
        panels[0][0].set_ylim(len(groups) - 0.5, -0.5)
    save_figure(figure, path)
    return True


def _number(row: Row, column: str) -> float | None:
    value = row.get(column)
    if isinstance(value, float | int) and np.isfinite(value):
        return float(value)
    return None
