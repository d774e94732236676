"""One tiny fitted run for all tests that need one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from groundvae.cli.main import main
from groundvae.diagnostics import context, diagnose, forecast, loo_pit, nearby
from groundvae.guides import laplace

SMALL_FIT = ("--steps", "6", "--sleep", "2", "--batch-size", "10", "--validate-every", "3")
SMALL_FIT += ("--learning-rate", "1e-3", "--threads", "1")  # six steps leave no time to rise
SMALL_POSTERIOR = ("--draws", "20", "--predictive-draws", "10", "--threads", "1")


@dataclass(frozen=True)
class Tiny:
    """A data file of 40 series, and a run that was fitted to it."""

    data: Path
    run: Path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("tiny")
    made = Tiny(folder / "data.npz", folder / "run")
    assert main(["simulate", "pendulum", "--n", "40", "--out", str(made.data)]) == 0
    fit = ["fit", "pendulum", "--variant", "hybrid-told", "--data", str(made.data)]
    fit += ["--out", str(made.run), *SMALL_FIT]
    assert main(fit) == 0
    return made


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Numbers repeat to the last bit only under one count of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def sketched() -> Iterator[None]:
    """Figures of reports are drawn small and without a layout, which takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnose, "save_figure", sketch)
        yield


def sketch(figure: Figure, path: Path) -> None:
    figure.set_layout_engine("none")
    figure.set_dpi(20)
    FigureCanvasAgg(figure).print_png(path)
    path.with_suffix(".svg").touch()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers of one thread, a ``distributed.LocalCluster``."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as made:
        yield made


@pytest.fixture(scope="module")
def few_simulations() -> Iterator[None]:
    """Fewer simulations than a report needs, where their number is not what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "SIMULATIONS", 60)
        patch.setattr(loo_pit, "SAMPLES", 500)
        patch.setattr(nearby, "OBSERVATIONS", 10)
        patch.setattr(forecast, "OBSERVATIONS", 10)
        patch.setattr(laplace, "FURTHER", 1)  # times that no fit has known are searched at length
        patch.setattr(laplace, "STARTS", 1)
        yield


@pytest.fixture
def small_fit() -> tuple[str, ...]:
    """Options that make a fit take a second."""
    return SMALL_FIT


@pytest.fixture
def small_posterior() -> tuple[str, ...]:
    """Options that make a posterior take a second."""
    return SMALL_POSTERIOR
