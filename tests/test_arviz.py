"""ArviZ works on what ``posterior`` writes, whichever version is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import arviz
import numpy as np
import pytest
import xarray as xr

from groundvae.data.pendulum import simulate
from groundvae.inference import arviz as az
from groundvae.inference.groups import InferenceData
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import load_run

if TYPE_CHECKING:
    from tests.conftest import Tiny

FEW = PosteriorOptions(draws=40, predictive_draws=40)


@pytest.fixture(scope="module")
def drawn(tiny: Tiny) -> az.InferenceData:
    return posterior(load_run(tiny.run), simulate(5, seed=1), FEW)


@pytest.fixture(scope="module", params=["in memory", "in a file"])
def given(
    request: pytest.FixtureRequest,
    drawn: az.InferenceData,
    tmp_path_factory: pytest.TempPathFactory,
) -> object:
    """What a user hands to ArviZ: the result itself, or what ArviZ reads of its file."""
    if request.param == "in memory":
        return drawn
    path = tmp_path_factory.mktemp("written") / "o.nc"
    save_inference_data(drawn, path)
    return arviz.from_netcdf(str(path))


def test_loo_and_loo_pit(given: object) -> None:
    assert np.isfinite(az.loo(given, var_name="x")["elpd"])
    if az.TREES:
        pit = arviz.loo_pit(given, var_names="x")["x"].values
    else:
        pit = arviz.loo_pit(given, y="x", y_hat="x")
    assert np.isfinite(pit).all()
    assert ((pit > -1e-6) & (pit < 1 + 1e-6)).all()  # sums of weights, rounded


def test_sensitivity_to_power_scaling(given: object) -> None:
    if az.TREES:
        found = arviz.psense(given, group="likelihood")
    else:
        found = arviz.psens(given, component="likelihood")
    assert np.isfinite(found["omega"]).all()  # all are decoded


def test_predictive_densities_are_drawn(given: object) -> None:
    if az.TREES:
        arviz.plot_ppc_dist(given, num_samples=5, backend="matplotlib")
    else:
        arviz.plot_ppc(given, num_pp_samples=5, random_seed=0)


def test_draws_as_a_table(given: object) -> None:
    if az.TREES:
        table = arviz.convert_to_dataset(given, group="posterior").to_dataframe()
    else:
        table = given.to_dataframe(groups=["posterior"])  # type: ignore[attr-defined]
    assert len(table)


def test_a_file_is_read_as_it_was_written(drawn: az.InferenceData, tmp_path: Path) -> None:
    save_inference_data(drawn, tmp_path / "o.nc")
    read = az.from_netcdf(tmp_path / "o.nc")
    assert set(read.groups()) == set(drawn.groups())
    for group in drawn.groups():
        xr.testing.assert_equal(read[group], drawn[group])


def test_groups_as_a_tree(drawn: az.InferenceData, tmp_path: Path) -> None:
    """What stands in for InferenceData under ArviZ 1.x, whichever is installed."""
    one = InferenceData(attrs={"system": "pendulum"}, **{k: drawn[k] for k in drawn.groups()})
    tree = one.to_datatree()
    assert set(tree.children) == set(one.groups()) == set(one)
    assert tree.attrs["system"] == "pendulum"
    np.testing.assert_array_equal(one.posterior["omega"], drawn["posterior"]["omega"])
    moved = one.assign_coords(observation=np.arange(5) + 7)
    assert moved["posterior"]["observation"].values.tolist() == [7, 8, 9, 10, 11]
    assert "observation" not in moved["prior"].coords
    one.add_groups({"more": xr.Dataset({"a": 1})})
    assert "more" in one
    del one.prior
    assert "prior" not in one
    with pytest.raises(AttributeError, match="no group 'nothing'"):
        _ = one.nothing
    one.load().to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    assert "more" in xr.open_datatree(tmp_path / "t.nc", engine="h5netcdf").children


def test_smoothed_weights_are_those_of_the_draws() -> None:
    draws = np.random.default_rng(0).normal(size=(3, 400))
    weights, k_hat = az.psislw(draws)
    np.testing.assert_allclose(np.exp(weights).sum(1), 1.0)
    assert (np.diff(weights[0][draws[0].argsort()]) >= -1e-9).all()  # larger stays larger
    assert np.isfinite(k_hat).all()


def test_pit_is_the_share_of_the_weight_below() -> None:
    y_hat = np.array([[0.0, 1.0, 2.0, 3.0]])
    weights = np.log(np.array([[0.1, 0.2, 0.3, 0.4]]))
    np.testing.assert_allclose(az.loo_pit(np.array([1.5]), y_hat, weights), [0.3])


def test_the_band_holds_uniform_values() -> None:
    levels = np.linspace(0.05, 0.95, 19)
    low, high = az.ecdf_band(200, levels, 0.9)
    values = np.sort(np.random.default_rng(1).uniform(size=(2000, 200)), axis=1)
    ecdf = np.stack([np.searchsorted(row, levels, side="right") / 200 for row in values])
    inside = ((ecdf >= low) & (ecdf <= high)).all(1).mean()
    assert inside == pytest.approx(0.9, abs=0.03)
