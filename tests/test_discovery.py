"""What is said of an unknown residual: its terms, functions, spectrum, and what they confound."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

import groundvae as gv
from groundvae.data.errors import InputError
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.discovery import Discovered
from groundvae.inference import arviz as az
from groundvae.inference.discovery import weights_of
from groundvae.inference.inferencedata import WEIGHTS, save_inference_data
from groundvae.inference.posterior import PosteriorOptions
from groundvae.inference.reaching import reaching
from groundvae.models.recipe import EVIDENCE


class Fall(gv.Dynamics):
    """Something that is thrown; what brakes it is not known."""

    push = gv.Latent(gv.Normal(0.0, 1.0), unit="m/s^2", meaning="a steady push")
    thrown = gv.Latent(gv.Normal(0.0, 2.0), unit="m/s", meaning="speed at the start")
    states = ("speed",)
    observed = "speed"

    def initial(self, z, inputs):
        return {"speed": z.thrown}

    def rate(self, t, state, z, inputs):
        return {"speed": z.push + 0.0 * state.speed}


def thrown(n: int, seed: int) -> gv.Dataset:
    """Speeds under a drag of 0.5 |v| v and nothing else."""
    random = np.random.default_rng(seed)
    times = np.linspace(0.0, 2.0, 25)
    start = random.normal(0.0, 2.0, n)
    x = start[:, None] / (1 + 0.5 * np.abs(start)[:, None] * times)
    x = x + 0.01 * random.standard_normal(x.shape)
    return gv.Dataset(x.astype(np.float32), {"t": times}, {"thrown": start, "push": 0 * start})


@pytest.fixture(scope="module")
def run() -> gv.Run:
    torch.manual_seed(0)
    model = gv.GreyBox(Fall(), gv.Unknown("speed"), gv.Gaussian(0.1))
    return gv.fit(model, thrown(60, 0), valid=thrown(20, 1), recipe=EVIDENCE, seed=0)


@pytest.fixture(scope="module")
def pushed(run: gv.Run) -> gv.Run:
    """The same, as if its data had asked for a push."""
    again = deepcopy(run)
    (residual,) = again.model.terms
    assert isinstance(residual, gv.Unknown)
    power = torch.linspace(-2.0, -9.0, residual.log_power.numel()).view_as(residual.log_power)
    asked = torch.ones_like(residual.asked)
    residual.load_state_dict(residual.state_dict() | {"asked": asked, "log_power": power})
    again.guide.attach(again.model)
    return again


def test_the_function_of_the_state_is_the_drag(run: gv.Run) -> None:
    found = gv.discovered(run).functions
    true = -0.5 * found["value"].abs() * found["value"]
    inside = found["value"].abs() < 2.5  # where data are
    off = (found["mean"] - true)[inside]
    assert np.sqrt((off**2).mean()) < 0.15 * np.sqrt((true[inside] ** 2).mean())


def test_terms_come_largest_first_and_are_said_in_words(run: gv.Run) -> None:
    found = gv.discovered(run)
    size = np.hypot(found.alive()["mean"], found.alive()["scale"])
    assert (np.diff(size) <= 0).all()
    assert "no push" in str(found)  # there is none: its functions are left out
    assert str(found.alive().iloc[0]["feature"]) in str(found)


def test_where_a_push_lies_is_said(pushed: gv.Run) -> None:
    assert "a push, nine tenths of it from" in str(gv.discovered(pushed))
    assert "Hz" in str(gv.discovered(pushed))


def test_functions_that_are_not_asked_for_cost_nothing(run: gv.Run, pushed: gv.Run) -> None:
    (left,), (full,) = run.model.terms, pushed.model.terms
    assert isinstance(left, gv.Unknown)
    assert isinstance(full, gv.Unknown)
    assert left.timed == 0 < full.timed
    assert run.model.auxiliary == 1 + left.count
    assert (left.power == 0).all()


def test_weights_of_observations_and_what_they_confound(run: gv.Run) -> None:
    drawn = gv.posterior(run, thrown(25, 2), PosteriorOptions(draws=200, predictive_draws=100))
    weights = weights_of(run, drawn)
    assert weights.sizes["observation"] == 25
    assert weights.sizes["term"] == len(gv.discovered(run).terms)
    finding = Discovered()(Context(run, drawn))
    assert {"push_taken", "thrown_taken"} <= finding.metrics.keys()
    assert all(0 <= value <= 1 for value in finding.metrics.values())
    assert finding.drawings[0].name == "discovery"


def test_weights_of_states_are_found_however_far_is_predicted(
    pushed: gv.Run, tmp_path: Path
) -> None:
    run = pushed
    few = PosteriorOptions(draws=60, predictive_draws=30)
    save_inference_data(gv.posterior(run, thrown(6, 2), few, until=20.0), tmp_path / "far.nc")
    read = az.from_netcdf(str(tmp_path / "far.nc"))
    z = torch.as_tensor(read[WEIGHTS]["z_aux"].values).double()
    assert z.shape[-1] > run.model.auxiliary
    (residual,) = reaching(run, 20.0).model.terms
    assert isinstance(residual, gv.Unknown)
    expected = residual.weights(z)[..., 0, residual.timed :].detach()
    np.testing.assert_allclose(weights_of(run, read), expected, rtol=1e-5)


def test_a_run_without_an_unknown_is_refused() -> None:
    from groundvae.inference.run import RunConfig, new_run

    with pytest.raises(InputError, match="without an unknown"):
        gv.discovered(new_run(RunConfig("pendulum", 50, "physics-only")))
