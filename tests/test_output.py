"""Output is not the work: whoever listens, and in whatever letters, the fit is saved."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from groundvae.cli import output
from groundvae.cli.main import main
from groundvae.inference.run import load_run

if TYPE_CHECKING:
    from tests.conftest import Tiny

ROOT = Path(__file__).resolve().parents[1]
SHORT = ["--steps", "2", "--sleep", "0", "--calibrate", "0", "--batch-size", "10", "--threads", "1"]
# A user without a name, as containers have them.
NAMELESS = """
import pwd, runpy, sys
def nobody(number):
    raise KeyError(number)
pwd.getpwuid = nobody
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=known, capture_output=True, text=True, check=False
    )


def fit(tiny: Tiny) -> str:
    words = [str(ROOT / "run.py"), "fit", "pendulum", "--variant", "physics-only"]
    return " ".join([*words, "--data", str(tiny.data), "--out", "run", *SHORT])


def test_a_reader_that_goes_away_stops_no_fit(tiny: Tiny, tmp_path: Path) -> None:
    line = f"{sys.executable} {fit(tiny)} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}"
    done = shell(line, tmp_path, HOME=str(tmp_path))
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert load_run(tmp_path / "run").fit.stop == "finished"


def test_no_output_at_all_stops_no_fit(tiny: Tiny, tmp_path: Path) -> None:
    done = shell(f"{sys.executable} {fit(tiny)} >&- 2>&-", tmp_path, HOME=str(tmp_path))
    assert done.returncode == 0
    assert load_run(tmp_path / "run").fit.stop == "finished"


def test_no_home_no_name_and_no_letters_but_ascii_stop_no_command(
    tiny: Tiny, tmp_path: Path
) -> None:
    # Files are UTF-8 whatever the locale is: an open without an encoding would be an error here.
    python = f"{sys.executable} -X warn_default_encoding -W error::EncodingWarning:groundvae"
    line = f"{python} -c '{NAMELESS}' {fit(tiny)}"
    poor = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = shell(line, tmp_path, HOME="/proc/none", **poor)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert load_run(tmp_path / "run").fit.stop == "finished"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_letters_that_a_stream_lacks_are_written_as_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with output.lasting_output():
        print("0.5 ± 0.1 rad²")
    assert raw.getvalue() == b"0.5 \\xb1 0.1 rad\\xb2\n"


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_broken_stream_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Broken())
    assert main(["list"]) == 0
