"""The Finding: what one part of the report found."""

from __future__ import annotations

from dataclasses import dataclass, field

from matplotlib.figure import Figure

from groundvae.diagnostics.verdict import Verdict


class LeftOutError(Exception):
    """A part of the report does not apply; the message says why."""


class NotAskedError(LeftOutError):
    """A part of the report is an extra that nobody asked for: no note is due."""


@dataclass(frozen=True)
class Drawing:
    """A figure not yet on disk, with what it shows in words and how to read it."""

    name: str
    figure: Figure
    alternative: str
    caption: str


@dataclass
class Finding:
    """Verdicts, metrics by name, figures, and notes on what was left out."""

    verdicts: list[Verdict] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    drawings: list[Drawing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __iadd__(self, other: Finding) -> Finding:
        self.verdicts += other.verdicts
        self.metrics |= other.metrics
        self.drawings += other.drawings
        self.notes += other.notes
        return self
