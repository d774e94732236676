"""One self-contained page: verdict lines, metrics and figures; opens without a network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from groundvae.data.atomic import replacing

STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 58rem; margin: 0 auto; padding: 1rem; }
figure { margin: 2rem 0; }
img { max-width: 100%; height: auto; background: white; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #8886; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figcaption { margin-top: .5rem; }
@media print { figure { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Panel:
    """A figure on disk with what it shows, in words, and how to read it."""

    path: Path
    alternative: str
    caption: str


def write_report(
    path: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    metrics: Mapping[str, float],
    meanings: Mapping[str, str],
    panels: Sequence[Panel],
    notes: Sequence[str] = (),
) -> None:
    """Write the page; figures are embedded, nothing is loaded from elsewhere."""
    body = [
        f"<h1>{escape(title)}</h1>",
        _table(["What", "Value"], [(k, v) for k, v in facts.items()]),
        *(f"<p>{escape(note)}</p>" for note in notes),
        "<h2>Metrics</h2>",
        _table(
            ["Metric", "Value", "Meaning"],
            [(k, f"{v:.4g}", meanings.get(k, "")) for k, v in metrics.items()],
            numbers=1,
        ),
        "<h2>Figures</h2>",
        *(_figure(panel) for panel in panels),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _table(head: Sequence[str], rows: Sequence[tuple[str, ...]], numbers: int | None = None) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=number' if i == numbers else ''}>{escape(cell)}</td>"
            for i, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"


def _figure(panel: Panel) -> str:
    data = base64.b64encode(panel.path.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(panel.alternative)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(panel.caption)}</figcaption></figure>"
    )
