"""One self-contained page: the answers first, then what they rest on; opens without a network."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from groundvae.data.atomic import replacing
from groundvae.diagnostics.answers import Answer
from groundvae.diagnostics.latents import is_auxiliary
from groundvae.diagnostics.verdict import Level, Verdict, counted

ROWS = 2000  # observations in the page; the file has all
PIXEL = 0.6  # of a page, that one of a figure takes: a figure of 9.7 inches fills the column
MARKS: Mapping[Level, str] = {"good": "✓", "doubtful": "~", "bad": "✗", "not enough data": "?"}
"""Beside the word, so that a grade is never told by colour alone."""


@dataclass(frozen=True)
class Panel:
    """A figure on disk with what it shows, in words, and how to read it."""

    path: Path
    alternative: str
    caption: str

    @property
    def name(self) -> str:
        """Of the figure."""
        return self.path.stem

    @property
    def width(self) -> int:
        """In the page's pixels, such that type is of one size in all figures."""
        with self.path.open("rb") as file:
            header = file.read(24)  # of a PNG: its width stands in bytes 16 to 19
        return round(PIXEL * int.from_bytes(header[16:20], "big"))

    @property
    def data(self) -> str:
        """The figure as text."""
        return base64.b64encode(self.path.read_bytes()).decode()


@dataclass(frozen=True)
class Page:
    """What a page shows.

    ``paragraphs``: how to read each check, by its name; ``titles``: what readers call it;
    ``tables``: further ones under their headings; ``observations``: one row each, the worst first.
    """

    title: str
    answers: Sequence[Answer]
    verdicts: Sequence[Verdict]
    notes: Sequence[str]
    panels: Sequence[Panel]
    metrics: Mapping[str, float]
    meanings: Mapping[str, str]
    titles: Mapping[str, str]
    paragraphs: Mapping[str, str]
    tables: Mapping[str, pd.DataFrame]
    observations: pd.DataFrame


def write_report(path: Path, page: Page) -> None:
    """Write the page; figures are embedded, nothing is loaded from elsewhere."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True)
    environment.undefined = jinja2.StrictUndefined
    environment.filters["prose"] = prose
    told = [k for k in page.metrics if not is_auxiliary(k)]
    few = page.observations.head(ROWS)
    left = len(page.observations) - len(few)
    observations = {**_rows(few, index=True), "left": left} if len(few) else None
    text = environment.get_template("report.html.jinja").render(
        {
            **vars(page),
            "marks": MARKS,
            "summary": summary(page.verdicts),
            "verdicts": sorted(page.verdicts, key=_urgency),
            "metrics": [(k, page.metrics[k], page.meanings.get(k, "")) for k in told],
            "untold": len(page.metrics) - len(told),
            "tables": {k: _rows(v) for k, v in page.tables.items() if len(v)},
            "observations": observations,
        }
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def prose(text: str) -> Markup:
    r"""A sentence as HTML: code in backticks as such, and no line that begins with a unit of %.

    >>> prose("hold 90 % of `x < 1`")
    Markup('hold 90\xa0% of <code>x &lt; 1</code>')
    """
    safe = str(escape(text)).replace(" %", "\xa0%")
    return Markup(re.sub(r"(`+)(.+?)\1", r"<code>\2</code>", safe))  # escaped above


def _rows(table: pd.DataFrame, *, index: bool = False) -> dict[str, Any]:
    """Head and rows as plain values."""
    plain = table.reset_index() if index else table
    return {"head": [str(c) for c in plain], "rows": plain.astype(object).values.tolist()}


def summary(verdicts: Sequence[Verdict]) -> str:
    """All verdicts in one line.

    >>> summary([Verdict("a", "good", "", 0.0, 1.0, 9), Verdict("b", "bad", "", 2.0, 1.0, 9)])
    '2 checks: 1 good, 1 bad'
    """
    counts = ", ".join(f"{n} {level}" for level, n in counted(verdicts).items() if n)
    return f"{len(verdicts)} checks: {counts}"


def _urgency(verdict: Verdict) -> int:
    return ("bad", "doubtful", "good", "not enough data").index(verdict.level)
