"""The Python examples of README and CONTRIBUTING run as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXPOSE = "import runpy; runpy.run_path({run!r})['expose_checkout']()\n"
SIZES = re.compile(r"\((\d+)0, (\d)\)")


def examples(name: str) -> list[str]:
    return BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_examples_run(tmp_path: Path, name: str) -> None:
    assert examples(name)
    # One after the other, as a reader runs them: later blocks use what earlier ones made.
    script = tmp_path / "example.py"
    text = EXPOSE.format(run=str(ROOT / "run.py")) + "\n".join(examples(name))
    text = SIZES.sub(r"(\1, \2)", text)  # a tenth of the series: nothing is judged by them here
    script.write_text(text, encoding="utf-8")
    environment = os.environ | {"MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
