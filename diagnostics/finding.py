"""What is found before a fit: a sentence, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass

GOOD, DOUBTFUL, BAD = "good", "doubtful", "bad"


@dataclass(frozen=True)
class Finding:
    """A verdict, ``good``, ``doubtful`` or ``bad``, and what it is about."""

    level: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.level}: {self.sentence}"
