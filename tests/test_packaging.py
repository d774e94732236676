"""The wheel holds every module under ``groundvae``, and the launcher needs no installation."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import groundvae

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("physics", "data", "models", "guides", "inference", "diagnostics", "cli")
IMPORT_ALL = """
import importlib, json, sys
names = json.loads(sys.argv[1])
print(json.dumps({name: importlib.import_module(name).__file__ for name in names}))
"""


def modules() -> list[str]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in files]
    return sorted("groundvae." + ".".join(p for p in q if p != "__init__") for q in parts)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    arguments = [sys.executable, *map(str, command)]
    done = subprocess.run(
        arguments, cwd=cwd, env=clean | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout gets no build folder."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    ignore = shutil.ignore_patterns(".git", *ignored)
    shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=ignore)
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    run(*build, folder / "source", cwd=folder)
    return next(folder.glob("*.whl"))


def test_an_installed_wheel_imports_from_where_it_is(wheel: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    pip = ("-m", "pip", "install", "--no-deps", "--no-index", "--quiet")
    run(*pip, "--disable-pip-version-check", "--target", scratch, wheel, cwd=tmp_path)
    program = ("-P", "-c", IMPORT_ALL, json.dumps(modules()))
    found = json.loads(run(*program, cwd=tmp_path, PYTHONPATH=str(scratch)))
    assert sorted(found) == modules()
    outside = {name: file for name, file in found.items() if not Path(file).is_relative_to(scratch)}
    assert outside == {}


def test_nothing_is_wrong_with_what_is_uploaded(wheel: Path, tmp_path: Path) -> None:
    pytest.importorskip("twine")
    source = wheel.parent / "source"
    build = ("-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path)
    run(*build, source, cwd=tmp_path)
    sdist = next(tmp_path.glob("*.tar.gz"))
    run("-m", "twine", "check", "--strict", wheel, sdist, cwd=tmp_path)
    with tarfile.open(sdist) as archive:
        held = {name.split("/", 1)[-1] for name in archive.getnames()}
    for name in ("CITATION.cff", "docs/tutorial.md", "examples/tutorial.ipynb", "run.py"):
        assert name in held


def test_there_is_one_version(wheel: Path) -> None:
    version = groundvae.__version__
    assert wheel.name.startswith(f"groundvae-{version}-")
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert changes.startswith(f"# Changelog\n\n## {version}")


def test_every_extra_is_told() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    told = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    for extra in setup["options.extras_require"]:
        assert f"groundvae[{extra}]" in told or f".[{extra}]" in told, extra


def test_the_wheel_claims_no_common_name(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"groundvae"}


def test_the_wheel_holds_what_is_no_module(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("__init__.pyi", "py.typed", "cli/catalogue.txt", "diagnostics/report.html.jinja"):
        assert f"groundvae/{name}" in names


def test_the_wheel_declares_its_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    name = next(n for n in archive.namelist() if n.endswith("entry_points.txt"))
    assert "groundvae = groundvae.cli.main:main" in archive.read(name).decode()


def test_the_launcher_works_uninstalled_from_anywhere(tmp_path: Path) -> None:
    shown = run(ROOT / "run.py", "list", cwd=tmp_path)
    assert shown.startswith("systems\n")
    assert list(tmp_path.iterdir()) == []
