"""What needs no tensors answers at once: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import groundvae
from groundvae.cli.list import OURS, offered

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "pyro", "scipy", "arviz", "matplotlib", "xarray", "numpy", "pandas")
COMMANDS = ("simulate", "check", "fit", "posterior", "predict", "diagnose", "compare", "data")
SECONDS = 1.0
IMPORT_SECONDS = 0.5
PROGRAM = """
import json, runpy, sys
runpy.run_path(sys.argv[1])["expose_checkout"]()
import groundvae
if sys.argv[2:]:
    from groundvae.cli.main import main
    try:
        main(sys.argv[2:])
    except SystemExit:  # how a parser ends after its help
        pass
print(json.dumps(list(sys.modules)), file=sys.stderr)
"""


def computed() -> float:
    """Processor time of the processes that have ended, s."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def after(*arguments: str) -> tuple[set[str], float]:
    """The modules that are there after a command (after the import alone without one), and how
    long it computed, s: others may work here, who make it wait.
    """
    begin = computed()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / "run.py"), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1])), computed() - begin


@pytest.mark.parametrize(
    "arguments",
    [(), ("--help",), ("--version",), *((name, "--help") for name in (*COMMANDS, "list"))],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments: tuple[str, ...]) -> None:
    assert not after(*arguments)[0] & set(HEAVY)


def test_the_list_needs_no_tensors() -> None:
    if not offered():  # what other packages offer has to be loaded to be told
        assert not after("list")[0] & set(HEAVY)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("list",)], ids=" ".join)
def test_it_answers_in_a_second(arguments: tuple[str, ...]) -> None:
    limit = SECONDS if arguments else IMPORT_SECONDS
    assert offered() or min(after(*arguments)[1] for _ in range(2)) < limit


def test_the_list_is_what_is_registered() -> None:
    """In a process of its own: others' files that tests have loaded are registered in this one."""
    program = f"""
import runpy
runpy.run_path({str(ROOT / "run.py")!r})["expose_checkout"]()
from groundvae.cli.catalogue import catalogue
print(*catalogue(), sep="\\n")
"""
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    written = OURS.read_text(encoding="utf-8").splitlines()
    assert offered() or written == told.stdout.splitlines(), "`make catalogue` writes it anew"


@pytest.mark.parametrize(("old", "new"), groundvae.RENAMED.items())
def test_a_name_of_the_version_before_works_and_warns(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"groundvae.{old} is called {new} and goes"):
        assert getattr(groundvae, old) is getattr(groundvae, new)
    assert old not in dir(groundvae)


def test_every_public_name_is_there() -> None:
    for name in groundvae.__all__:
        assert getattr(groundvae, name).__name__ == name
    assert dir(groundvae) == groundvae.__all__
    with pytest.raises(AttributeError, match="groundvae has no 'Sprint', known: Change, Corr"):
        _ = groundvae.Sprint  # type: ignore[attr-defined]
