"""One self-contained page: verdict lines, figures and metrics; opens without a network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from groundvae.data.atomic import replacing
from groundvae.diagnostics.verdict import LEVELS, Verdict, counted

STYLE = """
:root { color-scheme: light dark; --good: #00795a; --doubtful: #9a5b00; --bad: #b3261e;
  --none: #5f6368; }
@media (prefers-color-scheme: dark) {
  :root { --good: #4fd0a5; --doubtful: #f0b354; --bad: #ff8a80; --none: #b0b4b8; } }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; overflow-wrap: anywhere; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { line-height: 1.2; }
figure { margin: 2rem 0; }
img { max-width: 100%; height: auto; background: white; border-radius: .25rem; }
.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; overflow-wrap: normal; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1rem .25rem 0;
  border-bottom: 1px solid #8886; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
figcaption { margin-top: .5rem; }
.verdicts { list-style: none; padding: 0; }
.verdicts li { border-left: .4rem solid var(--none); padding: .1rem .75rem; margin: .75rem 0;
  break-inside: avoid; }
.level { font-weight: 700; color: var(--none); }
.verdicts small { opacity: .8; display: block; }
li.good { border-color: var(--good); } .good .level { color: var(--good); }
li.doubtful { border-color: var(--doubtful); } .doubtful .level { color: var(--doubtful); }
li.bad { border-color: var(--bad); } .bad .level { color: var(--bad); }
@media print { :root { color-scheme: light; } body { font-size: 10pt; }
  main { max-width: none; padding: 0; } figure { break-inside: avoid; margin: 1rem 0; }
  img { max-height: 20cm; } h2, h3 { break-after: avoid; } }
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
    verdicts: Sequence[Verdict] = (),
) -> None:
    """Write the page; figures are embedded, nothing is loaded from elsewhere."""
    rows = [(k, f"{v:.4g}", meanings.get(k, "")) for k, v in metrics.items()]
    body = [
        f"<h1>{escape(title)}</h1>",
        *_verdicts(verdicts),
        *_notes(notes),
        "<h2>Figures</h2>",
        *(_figure(panel) for panel in panels),
        "<h2>Metrics</h2>",
        _table(["Metric", "Value", "Meaning"], rows, numbers=1),
        "<h2>The run</h2>",
        _table(["What", "Value"], list(facts.items())),
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


def summary(verdicts: Sequence[Verdict]) -> str:
    """All verdicts in one line.

    >>> summary([Verdict("a", "good", "", 0.0, 1.0, 9), Verdict("b", "bad", "", 2.0, 1.0, 9)])
    '2 checks: 1 good, 1 bad'
    """
    counts = ", ".join(f"{n} {level}" for level, n in counted(verdicts).items() if n)
    return f"{len(verdicts)} checks: {counts}"


def _verdicts(verdicts: Sequence[Verdict]) -> list[str]:
    if not verdicts:
        return []
    worst_first = sorted(verdicts, key=lambda v: _urgency(v))
    lines = "".join(_verdict(v) for v in worst_first)
    return [
        "<h2>Can this posterior be trusted?</h2>",
        f"<p>{escape(summary(verdicts))}.</p>",
        f'<ul class="verdicts">{lines}</ul>',
    ]


def _urgency(verdict: Verdict) -> int:
    return ("bad", "doubtful", "good", "not enough data").index(verdict.level)


def _verdict(verdict: Verdict) -> str:
    assert verdict.level in LEVELS
    number = f"{verdict.value:.3g}" if np.isfinite(verdict.value) else "none"
    limit = f"threshold {verdict.threshold:.3g}, " if np.isfinite(verdict.threshold) else ""
    kind = verdict.level if verdict.level != "not enough data" else "none"
    return (
        f'<li class="{kind}"><span class="level">{escape(verdict.level)}</span>: '
        f"<b>{escape(verdict.name)}</b>. {escape(verdict.meaning)}"
        f"<small>value {number}, {limit}{verdict.observations} observations</small></li>"
    )


def _notes(notes: Sequence[str]) -> list[str]:
    if not notes:
        return []
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return ["<h2>Left out</h2>", f"<ul>{lines}</ul>"]


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
    return (
        '<div class="wide" tabindex="0"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _figure(panel: Panel) -> str:
    data = base64.b64encode(panel.path.read_bytes()).decode()
    return (
        f'<figure><img alt="{escape(panel.alternative)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(panel.caption)}</figcaption></figure>"
    )
