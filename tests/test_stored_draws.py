"""``diagnose --posterior``: draws that are stored already take the place of new ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from groundvae.cli.commands import Diagnose
from groundvae.cli.diagnose import stored
from groundvae.data.errors import InputError
from groundvae.data.pendulum import simulate
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.observations import as_table, observe
from groundvae.inference.arviz import put_group
from groundvae.inference.inferencedata import mark, save_inference_data
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, RunConfig, new_run

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = simulate(6, 0)


@pytest.fixture(scope="module")
def run() -> Run:
    return new_run(RunConfig("pendulum", DATA.x.shape[1], "hybrid-told"))


@pytest.fixture(scope="module")
def path(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("draws") / "posterior.nc"
    save_inference_data(posterior(run, DATA, PosteriorOptions(40, 30)), found)
    return found


def test_the_draws_are_those_that_were_stored(run: Run, path: Path) -> None:
    found, data = stored(Diagnose(Path("run"), posterior=path), run)
    assert found["posterior"].sizes["draw"] == 40
    assert found.attrs["source"] == str(path)
    np.testing.assert_array_equal(data.x, DATA.x)
    np.testing.assert_allclose(found["constant_data"]["omega"], DATA.truth["omega"])


def test_observations_keep_their_names(run: Run, tmp_path: Path) -> None:
    names = ("a", "the second", "c", "d", "e", "f")
    named = replace(DATA, labels={"observation": names})
    save_inference_data(posterior(run, named, PosteriorOptions(40, 30)), tmp_path / "draws.nc")
    found, data = stored(Diagnose(Path("run"), posterior=tmp_path / "draws.nc"), run)
    assert data.labels["observation"] == names
    observed = observe(Context(run, found))
    assert tuple(observed["observation_name"].values) == names
    table = as_table(observed, {})
    assert next(iter(table)) == "observation_name"
    assert table.loc[1, "observation_name"] == "the second"


def test_draws_of_another_variant_are_refused(path: Path) -> None:
    other = new_run(RunConfig("pendulum", DATA.x.shape[1], "physics-only"))
    with pytest.raises(InputError, match="is of the variant hybrid-told, expected physics-only"):
        stored(Diagnose(Path("run"), posterior=path), other)


def test_what_is_no_posterior_is_refused(run: Run, path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        stored(Diagnose(Path("run"), posterior=tmp_path / "none.nc"), run)
    (tmp_path / "text.nc").write_text("omega")
    with pytest.raises(InputError, match="no draws of a run"):
        stored(Diagnose(Path("run"), posterior=tmp_path / "text.nc"), run)
    with pytest.raises(InputError, match="--data"):
        stored(Diagnose(Path("run"), posterior=path, data=Path("other.npz")), run)


def test_what_a_score_was_held_against_is_kept(run: Run, path: Path) -> None:
    """A report marks the observations again, and its draws may be diagnosed once more."""
    found, _ = stored(Diagnose(Path("run"), posterior=path), run)
    known = found["constant_data"].load()
    scores = known["omega"].assign_attrs(known=20, rate=0.05)
    put_group(found, "constant_data", known.assign(surprise=scores))
    mark(found, xr.Dataset({"surprise": scores.drop_attrs(), "verdict": ("observation", [1] * 6)}))
    assert found["constant_data"]["surprise"].attrs["known"] == 20
    assert found["constant_data"]["verdict"].sum() == 6
