"""Progress of a fit, or of many parts: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
NEEDED = 58  # columns of phase, bar, count, rate and time left, which go before the terms


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
    room = console.width - NEEDED
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[terms]}"),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}  # one bar for each phase, added when it begins

        def report(phase: Phase, step: int, terms: dict[str, float]) -> None:
            if phase.name not in tasks:
                tasks[phase.name] = progress.add_task(
                    phase.name, terms="", rate="", total=phase.steps
                )
            speed = progress.tasks[tasks[phase.name]].speed
            rate = f"{speed:.3g}/s" if speed else ""
            progress.update(tasks[phase.name], completed=step, rate=rate, terms=_cut(terms, room))

        yield report


@contextmanager
def counting(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Give the function that is told how many ``what`` are done, of how many, by all workers."""
    if not console.is_terminal:
        tenths = -1

        def tell(done: int, count: int) -> None:
            nonlocal tenths
            if 10 * done // count > tenths:
                tenths = 10 * done // count
                console.print(f"{done} of {count} {what}", soft_wrap=True, highlight=False)

        yield tell
        return
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn(what), BarColumn(bar_width=12), MofNCompleteColumn(), rate)
    with Progress(*columns, TimeRemainingColumn(compact=True), console=console) as progress:
        task = progress.add_task(what, rate="", total=None)

        def advance(done: int, count: int) -> None:
            speed = progress.tasks[0].speed
            progress.update(
                task, completed=done, total=count, rate=f"{speed:.3g}/s" if speed else ""
            )

        yield advance


def _terms(terms: dict[str, float]) -> str:
    return "  ".join(f"{k} {v:.4g}" for k, v in terms.items() if k not in HIDDEN)


def _cut(terms: dict[str, float], room: int) -> str:
    """As many terms as there is room for, the validation ELBO first."""
    ordered = sorted(terms.items(), key=lambda term: term[0] != "valid_elbo")
    text = _terms(dict(ordered))
    return text if len(text) <= room else text[: max(room, 0)].rpartition("  ")[0]
