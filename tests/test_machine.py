"""Other machines and habits: busy processors, narrow terminals, mistyped words, long series."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator

import pytest
import torch
from rich.console import Console

import groundvae
from groundvae.cli import console
from groundvae.cli.main import main
from groundvae.cli.progress import reporting
from groundvae.guides.phase import Phase
from groundvae.guides.resample import resample


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("values", "load", "asked", "expected"),
    [(50, 0.0, None, 1), (9000, 0.0, None, 4), (9000, 7.5, None, 1), (50, 7.5, 3, 3)],
)
def test_one_thread_unless_the_model_gains_and_the_machine_is_free(
    values: int,
    load: float,
    asked: int | None,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    told = console.set_threads(asked, values)
    assert torch.get_num_threads() == expected
    assert told == f"on {expected} of 8 processor threads"


def test_threads_wait_passively() -> None:
    assert os.environ["OMP_WAIT_POLICY"]


def test_the_bar_shows_what_matters_at_80_columns() -> None:
    stream = io.StringIO()
    narrow = Console(file=stream, width=80, force_terminal=True, color_system=None)
    phase = Phase("calibrate", 400, None, lambda _: None)  # type: ignore[arg-type, return-value]
    terms = {"nll": -123.456, "kl": 23.4, "hybrid_simulation": -1.234, "physics_simulation": 9.0}
    with reporting(narrow) as report:
        for step in (100, 200, 300):
            report(phase, step, {"step": step, "seconds": 1.0, **terms, "valid_elbo": 1.0})
            time.sleep(0.15)
    shown = stream.getvalue().split("\r")[-1]
    assert "300/400" in shown
    assert "valid_elbo" in shown
    assert "calibrate" in shown
    assert "/s" in shown
    assert ":" in shown.split("/s")[1]  # the time left


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["fitt", "pendulum"], "did you mean 'fit'?"),
        (["fit", "pendulm"], "did you mean 'pendulum'?"),
        (["fit", "pendulum", "--stepz", "4"], "did you mean --steps?"),
        (["posterior", "r", "--data", "d", "--out", "o", "--overwrite"], "mean --overwrite?"),
        (
            ["fit", "pendulum", "--variant", "hybrid-told", "--guide", "laplace-nrmal"],
            "did you mean 'laplace-normal'?",
        ),
        (["fit", "pendulum", "--variant", "hybird"], "did you mean 'hybrid'?"),
    ],
)
def test_mistyped_words_are_met(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert meant in capsys.readouterr().err


def test_short_words(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("--version", "-V"):
        assert main([word]) == 0
        assert capsys.readouterr().out == f"groundvae {groundvae.__version__}\n"
    with pytest.raises(SystemExit) as stop:
        main(["-h"])
    assert stop.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_a_long_series_is_carried_to_a_grid_at_a_cost_that_grows_with_its_length() -> None:
    grid = torch.linspace(0, 2.45, 50)
    times = torch.linspace(0, 2.45, 60_000)  # all pairs of samples would take 14 GB
    found = resample(torch.sin(3 * times).unsqueeze(0), times, grid)
    assert float((found - torch.sin(3 * grid)).abs().max()) < 0.01
