"""Launcher: ``python run.py COMMAND ...`` works from a checkout, installed or not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent


def expose_checkout() -> None:
    """Let ``groundvae`` be the public face in this folder, and its packages those beside it."""
    if "groundvae" in sys.modules:
        return
    face = ROOT / "groundvae" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        "groundvae", face, submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["groundvae"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    expose_checkout()
    from groundvae.cli.main import main

    sys.exit(main())
