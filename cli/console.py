"""What the commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

out = Console()
err = Console(stderr=True)


def say(text: str) -> None:
    """One plain line on stdout."""
    out.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """One plain line on stderr."""
    err.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def show_metrics(title: str, metrics: Mapping[str, float]) -> None:
    """A table of named numbers."""
    table = Table("metric", "value", title=title, title_justify="left")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4g}")
    out.print(table)


def set_threads(count: int) -> None:
    """Threads of the tensor library; results repeat only under the same count."""
    import torch

    torch.set_num_threads(max(1, min(count, os.cpu_count() or 1)))
