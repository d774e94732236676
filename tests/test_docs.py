"""The pages of the documentation: their Python runs as it is, and their links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_readme import EXPOSE, ROOT, examples

PAGES = ("tutorial", "own-physics", "your-data", "one-series", "counterfactuals")
QUICK = ("own-physics", "your-data")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")


def ran(page: str, folder: Path) -> None:
    """Run a page's code, one block after the other, as a reader does."""
    script = folder / "page.py"
    text = EXPOSE.format(run=str(ROOT / "run.py")) + "\n".join(examples(f"docs/{page}.md"))
    script.write_text(text, encoding="utf-8")
    environment = os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", QUICK)
def test_a_short_page_runs(page: str, tmp_path: Path) -> None:
    ran(page, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if p not in QUICK])
def test_a_page_runs(page: str, tmp_path: Path) -> None:
    ran(page, tmp_path)


def test_every_page_with_code_is_run() -> None:
    with_fits = {"unknown.md", "galaxy.md", "generation.md", "large.md"}  # excerpts, not programs
    found = {p.name for p in (ROOT / "docs").glob("*.md") if examples(f"docs/{p.name}")}
    assert found - with_fits == {f"{page}.md" for page in PAGES}


@pytest.mark.parametrize(
    "path", ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(path: str) -> None:
    page = ROOT / path
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{path} links {target}"


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the extra 'docs'")
def test_the_site_is_built_without_warnings(tmp_path: Path) -> None:
    begin = time.perf_counter()
    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert time.perf_counter() - begin < 60.0
    assert "gv.fit" in (tmp_path / "site" / "reference.html").read_text(encoding="utf-8")
