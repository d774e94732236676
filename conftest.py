"""Tests and doctests see the checkout as ``groundvae``, installed or not."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent
PACKAGES = ("physics", "data", "models", "guides", "inference", "diagnostics", "cli")

runpy.run_path(str(ROOT / "run.py"))["expose_checkout"]()


# Before pytest's own hook, which would import ``physics/pendulum.py`` a second time, as a module
# of that name, with classes that are not those of groundvae; a module it finds it leaves alone.
@pytest.hookimpl(tryfirst=True)
def pytest_collect_file(file_path: Path) -> None:
    parts = file_path.relative_to(ROOT).with_suffix("").parts
    if parts[0] in PACKAGES and file_path.suffix == ".py":
        name = ".".join(part for part in parts if part != "__init__")
        sys.modules.setdefault(name, importlib.import_module(f"groundvae.{name}"))
