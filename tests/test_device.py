"""A fit and a posterior on another device: a pretended one here, a graphics card where one is."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from groundvae.cli.main import main
from groundvae.inference.fit import Means, execute, prepare
from groundvae.inference.options import PosteriorOptions
from groundvae.inference.posterior import posterior
from groundvae.inference.run import Run
from groundvae.models.ownfile import find_system

from .conftest import Tiny
from .elsewhere import DEVICE, pretending

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card")
SIMULATE = find_system("pendulum").source.simulate
FEW = PosteriorOptions(draws=6, predictive_draws=3)
SMALL = {"sleep": 1.0, "calibrate": 1.0, "batch_size": 6, "validate_every": 1}

pytestmark = pytest.mark.usefixtures("one_thread")


def fitted(variant: str, guide: str | None, steps: int, device: str) -> Run:
    """A fit of a few steps, all of it on the device."""
    recipe = find_system("pendulum").variant(variant).recipe
    options = replace(recipe.options, steps=steps, **SMALL)  # type: ignore[arg-type]
    data = SIMULATE(8, 1)
    run = prepare(
        "pendulum", data, variant=variant, recipe=replace(recipe, options=options), guide=guide
    )
    return execute(run, data, SIMULATE(4, 2), Means(device))


def check(variant: str, guide: str | None, steps: int, device: str) -> None:
    run = fitted(variant, guide, steps, device)
    assert run.fit.stop == "finished"
    assert {v.device.type for v in run.model.state_dict().values()} == {"cpu"}
    found = posterior(run.to(device), SIMULATE(4, 2), FEW)["posterior"]["omega"]
    assert found.shape == (1, 6, 4)
    assert np.isfinite(found.values).all()


WAYS = [
    pytest.param("hybrid-told", None, 1, marks=pytest.mark.slow),
    ("hybrid-told", "structured-normal", 1),
    pytest.param("hybrid-evidence", None, 14, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("variant", "guide", "steps"), WAYS)
def test_no_tensor_is_left_behind(
    variant: str, guide: str | None, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that are on two devices do not meet: an operation on both fails."""
    adam = import_module("torch.optim.adam")
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *_, **__: None)
    with pretending():
        check(variant, guide, steps, str(DEVICE))


def test_the_pretended_device_refuses_what_a_true_one_does() -> None:
    with pretending():
        away = torch.ones(3, device=DEVICE)
        assert (2 * away).sum().item() == 6
        assert (away + torch.tensor(1.0)).device == DEVICE
        with pytest.raises(RuntimeError, match="two devices"):
            away + torch.ones(3)
        with pytest.raises(RuntimeError, match="numpy"):
            away.numpy()


@CUDA
@pytest.mark.parametrize(
    ("variant", "guide", "steps"),
    [
        ("hybrid-told", None, 2),
        ("hybrid-told", "structured-normal", 2),
        ("hybrid-evidence", None, 14),
    ],
)
def test_a_card_fits_and_draws(variant: str, guide: str | None, steps: int) -> None:
    check(variant, guide, steps, "cuda")


@CUDA
def test_a_card_finds_the_modes_that_the_processor_finds() -> None:
    run = fitted("hybrid-evidence", None, 14, "cpu")
    here, there = (
        posterior(run.to(device), SIMULATE(20, 3), FEW)["constant_data"]["log_evidence"].values
        for device in ("cpu", "cuda")
    )
    assert np.median(np.abs(here - there)) < 1e-3


@CUDA
def test_commands_take_a_card(tiny: Tiny, tmp_path: Path, small_posterior: tuple[str, ...]) -> None:
    out = tmp_path / "posterior.nc"
    command = ["posterior", str(tiny.run), "--data", str(tiny.data), "--out", str(out)]
    assert main([*command, *small_posterior, "--device", "cuda"]) == 0


def test_a_device_that_is_not_there_is_refused(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "posterior.nc"
    command = ["posterior", str(tiny.run), "--data", str(tiny.data), "--out", str(out)]
    assert main([*command, "--device", "abacus"]) == 2
    assert "device 'abacus' is not available, expected cpu or cuda" in capsys.readouterr().err
