"""Where real data are looked for, and the splits that a system's default data come in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError

VARIABLE = "GROUNDVAE_DATA"
STAND_IN = "SIMULATED STAND-IN"
"""How the source of a stand-in begins, wherever it is told."""


@dataclass(frozen=True)
class Splits:
    """Default data of one system: what to fit, to validate on and to test on."""

    train: Dataset
    valid: Dataset
    test: Dataset
    source: str
    stand_in: bool = False  # simulated, because real data were not found


def candidates(system: str, root: Path | None = None) -> list[Path]:
    """Folders to look in, best first: ``root`` alone where given, else variable and cache."""
    if root is not None:
        return [root / system, root]
    named = os.environ.get(VARIABLE)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "groundvae"
    return [*([Path(named) / system] if named else []), cache / system]


def find_folder(system: str, root: Path | None = None) -> Path | None:
    """The first candidate that exists; None where there is none.

    Raises:
        InputError: ``root`` was asked for and is no folder.

    """
    if root is not None and not root.is_dir():
        raise InputError(f"{root}: no such folder, expected one that holds the data of {system}")
    return next((folder for folder in candidates(system, root) if folder.is_dir()), None)
