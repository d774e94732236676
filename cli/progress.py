"""Progress of a fit: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from groundvae.inference.fit import FitOptions, Report

HIDDEN = {"step", "seconds"}


@contextmanager
def reporting(console: Console) -> Iterator[Report]:
    """Give the function that ``fit`` calls after every validation."""
    if not console.is_terminal:
        yield lambda step, options, terms: console.print(
            f"step {step}/{options.steps}  {terms['seconds']:.0f} s  {_terms(terms)}",
            soft_wrap=True,
            highlight=False,
        )
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[terms]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("fit", terms="", total=None)

        def report(step: int, options: FitOptions, terms: dict[str, float]) -> None:
            progress.update(task, completed=step, total=options.steps, terms=_terms(terms))

        yield report


def _terms(terms: dict[str, float]) -> str:
    return "  ".join(f"{k} {v:.4g}" for k, v in terms.items() if k not in HIDDEN)
