"""Progress of a fit: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from groundvae.guides.phase import Phase
from groundvae.inference.optimize import Report

HIDDEN = {"step", "seconds"}


@contextmanager
def reporting(console: Console) -> Iterator[Report]:
    """Give the function that a fit calls after every validation."""
    if not console.is_terminal:
        yield lambda phase, step, terms: console.print(
            f"{phase.name} {step}/{phase.steps}  {terms['seconds']:.0f} s  {_terms(terms)}",
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
        tasks: dict[str, TaskID] = {}  # one bar for each phase, added when it begins

        def report(phase: Phase, step: int, terms: dict[str, float]) -> None:
            if phase.name not in tasks:
                tasks[phase.name] = progress.add_task(phase.name, terms="", total=phase.steps)
            progress.update(tasks[phase.name], completed=step, terms=_terms(terms))

        yield report


def _terms(terms: dict[str, float]) -> str:
    return "  ".join(f"{k} {v:.4g}" for k, v in terms.items() if k not in HIDDEN)
