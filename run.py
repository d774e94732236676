"""Launcher: ``python run.py COMMAND ...`` works from a checkout, installed or not."""

from __future__ import annotations

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def expose_checkout() -> None:
    """Let ``groundvae.models`` and the rest be the folders beside this file."""
    package = types.ModuleType("groundvae")
    package.__path__ = [str(ROOT)]
    sys.modules.setdefault("groundvae", package)


if __name__ == "__main__":
    expose_checkout()
    from groundvae.cli.main import main

    sys.exit(main())
