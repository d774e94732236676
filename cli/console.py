"""What the commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

LARGE = 4096  # values of an observation, from which on one operation is worth several threads
MOST = 4  # threads that are taken unasked
WEIGHTS = "z_aux["  # how metrics of single weights begin

out = Console()
err = Console(stderr=True)


@contextmanager
def telling_to(path: Path) -> Iterator[None]:
    """Have both go to the end of a file instead."""
    before = out._file, err._file  # None is whatever sys.stdout is by then
    with path.open("a", encoding="utf-8") as stream:
        out.file = err.file = stream
        try:
            yield
        finally:
            out._file, err._file = before


def say(text: str) -> None:
    """One plain line on stdout."""
    out.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """One plain line on stderr."""
    err.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def show_metrics(title: str, metrics: Mapping[str, float]) -> None:
    """A table of named numbers; those of each of an unknown's weights are only counted."""
    table = Table("metric", "value", title=title, title_justify="left")
    shown = {name: value for name, value in metrics.items() if not name.startswith(WEIGHTS)}
    for name, value in shown.items():
        table.add_row(name, f"{value:.4g}")
    out.print(table)
    if len(shown) < len(metrics):
        say(f"metrics.json holds {len(metrics) - len(shown)} more, of single weights of z_aux")


def set_threads(asked: int | None, values: int = 0) -> str:
    """Set the threads of the tensor library, and say in words how many they are.

    Results repeat only under the same count.

    Args:
        asked: by the user; None: one, unless an observation is so large that more are worth
            their waiting for each other and the machine has them to spare.
        values: of one observation.

    """
    import torch

    cores = os.cpu_count() or 1
    count = asked
    if count is None:
        spare = int(cores - os.getloadavg()[0]) if hasattr(os, "getloadavg") else cores
        count = min(MOST, spare) if values >= LARGE else 1
    count = max(1, min(count, cores))
    torch.set_num_threads(count)
    return f"on {count} of {cores} processor threads"
