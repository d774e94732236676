"""What a fit leaves besides the trained model and guide: how it ended, and its history."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from groundvae.guides.phase import Ending


@dataclass
class Fit:
    """What a fit leaves besides the trained model and guide."""

    history: list[dict[str, float]] = field(default_factory=list)
    ending: Ending = Ending.FINISHED
    why: str = ""
    """Of an ending that has a reason: which step, which term."""
    steps: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    best_elbo: float = -float("inf")
    """Highest validation ELBO; calibration then trades some of it for intervals that are as wide
    as they should be."""

    def __post_init__(self) -> None:
        self.found: object = None  # of the validation data in the best state; nobody stores it

    def facts(self) -> dict[str, Any]:
        """All but the history, as JSON holds it: without infinities."""
        facts = {k: v for k, v in vars(self).items() if k not in ("history", "found")}
        facts["ending"] = self.ending.value
        for name in ("best_elbo", "peak_memory_mb"):
            facts[name] = facts[name] if math.isfinite(facts[name]) else None
        return facts

    def table(self) -> str:
        """The history as CSV."""
        columns = list(dict.fromkeys(key for row in self.history for key in row))
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(self.history)
        return stream.getvalue()

    @classmethod
    def read(cls, facts: Mapping[str, Any], table: str) -> Fit:
        """What ``facts`` and ``table`` gave."""
        rows = csv.DictReader(io.StringIO(table, newline=""))
        history = [{k: float(v) for k, v in row.items() if v} for row in rows]
        known = {k: facts[k] for k in ("why", "steps", "seconds", "peak_memory_mb", "best_elbo")}
        if known["best_elbo"] is None:
            known["best_elbo"] = -math.inf
        return cls(history=history, ending=Ending(facts["ending"]), **known)

    @property
    def stop(self) -> str:
        """How it ended, in words."""
        return f"{self.ending.value} {self.why}".rstrip()


def peak_memory_mb() -> float:
    """Highest resident memory of this process so far, MB."""
    try:
        import resource  # not everywhere
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
