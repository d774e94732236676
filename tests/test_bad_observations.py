"""One bad observation costs one observation; what cannot be computed is told in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import groundvae as gv
from groundvae.cli.main import main
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.pendulum import simulate
from groundvae.guides.laplace import LaplaceGuide
from groundvae.inference import arviz as az
from groundvae.inference.importance import smooth
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import load_run
from groundvae.physics.errors import NonFiniteError

if TYPE_CHECKING:
    from tests.conftest import Tiny

FEW = PosteriorOptions(draws=30, predictive_draws=10)
MANY = PosteriorOptions(draws=400, predictive_draws=4)


@pytest.fixture
def spoilt(tmp_path: Path) -> Path:
    data = simulate(40, seed=1)
    data.x[3, 7] = -999.0
    data.x[5] = np.nan
    data.save(tmp_path / "d.npz")
    return tmp_path / "d.npz"


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("ending", ["npz", "long.csv", "wide.csv", "nc"])
def test_one_that_is_not_finite_costs_itself(
    value: float,
    ending: str,
    tiny: Tiny,
    tmp_path: Path,
    small_posterior: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What does not fit into single precision is infinite too."""
    data, path = simulate(6, seed=1), tmp_path / f"d.{ending}"
    x, t = data.x.astype(float), data.coordinates["t"]
    x[2, 7] = value
    if ending == "npz":
        np.savez(path, x=x, t=t)
    elif ending == "nc":
        axes = ("observation", "time")
        xr.Dataset({"x": (axes, x)}, {"time": t}).to_netcdf(path, engine="h5netcdf")
    elif ending == "wide.csv":
        pd.DataFrame(x, columns=[f"{each:.4f}" for each in t]).to_csv(path, index=False)
    else:
        at = {"observation": np.arange(6).repeat(len(t)), "time": np.tile(t.round(4), 6)}
        pd.DataFrame({**at, "value": x.ravel()}).to_csv(path, index=False)
    out = tmp_path / "o.nc"
    command = ["posterior", str(tiny.run), "--data", str(path), "--out", str(out)]
    assert main([*command, *small_posterior]) == 0
    reaches = "-inf" if value < 0 else "inf"
    assert f"1 observation cannot be used: 2 (reaches {reaches})" in told_of(capsys)
    stored = az.from_netcdf(str(out))
    assert np.flatnonzero(stored["constant_data"]["unusable"].values).tolist() == [2]
    assert np.isfinite(stored["posterior"]["omega"]).all()


def test_python_leaves_it_out_too(tiny: Tiny) -> None:
    data = simulate(6, seed=1)
    data.x[2, 7] = np.inf
    found = gv.posterior(load_run(tiny.run), data, FEW)
    assert np.flatnonzero(found["constant_data"]["unusable"].values).tolist() == [2]
    assert np.isfinite(found["posterior"]["omega"]).all()


def told_of(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return shown.err


def test_a_posterior_goes_on_without_them(
    spoilt: Path,
    tiny: Tiny,
    small_posterior: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = spoilt.parent / "o.nc"
    command = ["posterior", str(tiny.run), "--data", str(spoilt), "--out", str(out)]
    assert main([*command, *small_posterior]) == 0
    told = told_of(capsys)
    assert "2 observations cannot be used: 3 (reaches -999), 5 (no samples)" in told
    assert "2 of 40 observations have no posterior and got the prior: 3, 5;" in told
    stored = az.from_netcdf(str(out))
    marked = stored["constant_data"]["unusable"].values
    assert np.flatnonzero(marked).tolist() == [3, 5]
    for group in ("posterior", "posterior_predictive"):
        for values in stored[group].values():
            assert np.isfinite(values).all()
    assert not stored["constant_data"]["out_of_distribution"].values[marked].any()


def test_what_they_get_is_the_prior_and_the_others_keep_their_own(tiny: Tiny) -> None:
    run = load_run(tiny.run)
    data = simulate(6, seed=1)
    whole = posterior(run, data, MANY)["posterior"]["omega"].values[0]
    data.x[2] = np.nan
    found = posterior(run, data, MANY)["posterior"]["omega"].values[0]
    low, high = 0.392, 3.53  # the prior is uniform
    assert found[:, 2].mean() == pytest.approx((low + high) / 2, abs=0.2)
    assert found[:, 2].std() == pytest.approx((high - low) / 12**0.5, abs=0.1)
    others = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(found[:, others].mean(0), whole[:, others].mean(0), atol=0.1)


def test_fit_and_diagnose_leave_them_out(
    spoilt: Path,
    tiny: Tiny,
    small_fit: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = spoilt.parent / "run"
    command = ["fit", "pendulum", "--variant", "hybrid-told", "--data", str(spoilt)]
    assert main([*command, "--out", str(out), *small_fit]) == 0
    assert "on 30 observations" in told_of(capsys)  # four fifths of 38
    clean = load_run(out)
    assert clean.config.known["size"] < 10


@pytest.mark.parametrize("error", [NonFiniteError, torch.linalg.LinAlgError])
def test_one_of_which_the_guide_fails_gets_the_prior(
    error: type[Exception], tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = load_run(tiny.run), simulate(9, seed=1)
    worst = float(np.abs(data.x).max(1).max())
    examine = LaplaceGuide.examine

    def fails(self: LaplaceGuide, batch: Batch) -> object:
        if float(batch.x.abs().max()) >= worst:
            raise error("not positive-definite")
        return examine(self, batch)

    monkeypatch.setattr(LaplaceGuide, "examine", fails)
    found = posterior(run, data, FEW)
    assert np.isfinite(found["posterior"]["omega"]).all()
    data.x[:] = data.x[np.abs(data.x).max(1).argmax()]
    with pytest.raises(InputError, match="no observation can be inferred from"):
        posterior(run, data, FEW)


def test_a_file_that_is_wrong_altogether_is_refused(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = simulate(6, seed=1)
    data.x[:4] = np.nan
    data.save(tmp_path / "d.npz")
    command = ["posterior", str(tiny.run), "--data", str(tmp_path / "d.npz"), "--out"]
    assert main([*command, str(tmp_path / "o.nc")]) == 2
    assert "expected most of 6 to be good" in told_of(capsys)


@pytest.mark.parametrize("order", [">f4", "<f4", ">f8"])
def test_any_byte_order_and_any_stride(order: str, tiny: Tiny) -> None:
    run, plain = load_run(tiny.run), simulate(4, seed=1)
    x, t = plain.x, plain.coordinates["t"]
    turned = x[:, ::-1].copy()[:, ::-1]  # strides that run backwards
    other = Dataset(turned.astype(order)[:, :], {"t": t.astype(">f8")})
    assert turned.strides[1] < 0
    for data in (other, Dataset(turned, {"t": t})):
        found = posterior(run, data, FEW)["posterior"]["omega"]
        expected = posterior(run, plain, FEW)["posterior"]["omega"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_paths_may_be_text(tiny: Tiny, tmp_path: Path) -> None:
    run = gv.load_run(str(tiny.run))
    run.save(str(tmp_path / "copy"))
    simulate(4, seed=1).save(str(tmp_path / "d.npz"))
    drawn = gv.posterior(run, gv.read(str(tmp_path / "d.npz")), FEW)
    save_inference_data(drawn, str(tmp_path / "o.nc"))
    assert gv.load_run(str(tmp_path / "copy")).config == run.config


def test_few_draws_have_no_tail_and_are_told_so(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["posterior", str(tiny.run), "--data", str(tiny.data), "--out"]
    options = ["--draws", "1", "--weighted", "--threads", "1"]
    assert main([*command, str(tmp_path / "o.nc"), *options]) == 0
    assert "40 of 40 observations have k-hat above 0.7" in capsys.readouterr().out
    assert np.isinf(smooth(np.zeros((1, 3)))[1]).all()


def test_priors_where_no_draw_is_are_refused(
    tiny: Tiny, tmp_path: Path, small_posterior: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["posterior", str(tiny.run), "--data", str(tiny.data)]
    command += ["--out", str(tmp_path / "o.nc"), "--reprior", "omega=Uniform(50, 60)"]
    assert main([*command, *small_posterior]) == 2
    assert "expected priors that overlap" in told_of(capsys)
    assert not (tmp_path / "o.nc").exists()


def test_memory_that_is_not_there_is_told(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried 51200000000 bytes"
        )

    monkeypatch.setattr("groundvae.cli.posterior.posterior", greedy)
    command = ["posterior", str(tiny.run), "--data", str(tiny.data)]
    assert main([*command, "--out", str(tmp_path / "o.nc")]) == 2
    assert "out of memory" in told_of(capsys)
