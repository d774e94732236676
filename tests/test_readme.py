"""The README's Python examples run as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXPOSE = "import runpy; runpy.run_path({run!r})['expose_checkout']()\n"


def examples() -> list[str]:
    readme = ROOT / "README.md"
    return BLOCK.findall(readme.read_text(encoding="utf-8")) if readme.is_file() else []


def test_examples_run(tmp_path: Path) -> None:
    assert examples()
    # One after the other, as a reader runs them: later blocks use what earlier ones made.
    script = tmp_path / "example.py"
    text = EXPOSE.format(run=str(ROOT / "run.py")) + "\n".join(examples())
    script.write_text(text, encoding="utf-8")
    environment = os.environ | {"MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
