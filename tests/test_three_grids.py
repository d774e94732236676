"""Pendulums on three time grids, uneven and of different lengths, in one data set: one fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pyro import poutine

import groundvae as gv
from groundvae.data.batch import Batch
from groundvae.data.pendulum import RANGES, solve
from groundvae.data.times import stacked
from groundvae.guides.guide import log_prob_of
from groundvae.guides.phase import Ending
from groundvae.inference.posterior import PosteriorOptions
from groundvae.models import sensitivity
from groundvae.models.normalscore import NormalScore
from groundvae.models.precision import like
from groundvae.models.sensitivity import linearize, states_of
from groundvae.models.systems.pendulum import Pendulum

EACH = 4  # series on each grid
rng = np.random.default_rng(0)
GRIDS = [
    np.linspace(0.0, 2.45, 50),
    np.cumsum(rng.uniform(0.02, 0.12, 31)),
    np.sort(rng.uniform(0.05, 1.5, 12)),
]
FEW = gv.FitOptions(steps=4, sleep=1.0, calibrate=0.5, batch_size=9, validate_every=2)
FINITE = {"hybrid-told": 0.999999, "hybrid-evidence": 0.95}
DRAWS = PosteriorOptions(draws=12, predictive_draws=6)


def mixed() -> gv.Dataset:
    """Series on the three grids in turn."""
    n = 3 * EACH
    truth = {name: rng.uniform(*bounds, n) for name, bounds in RANGES.items()}
    times = stacked([GRIDS[i % 3] for i in range(n)])
    x = np.full(times.shape, np.nan)
    for i in range(n):
        grid = GRIDS[i % 3]
        own = {name: value[i : i + 1] for name, value in truth.items()}
        x[i, : len(grid)] = solve(own, np.append(0.0, grid) if grid[0] else grid)[0, -len(grid) :]
    return gv.Dataset(x + 0.01 * rng.standard_normal(x.shape), {"t": times}, truth)


@pytest.fixture(scope="module")
def data() -> gv.Dataset:
    return mixed()


@pytest.fixture(
    scope="module",
    params=["hybrid-told", pytest.param("hybrid-evidence", marks=pytest.mark.slow)],
)
def run(request: pytest.FixtureRequest, data: gv.Dataset) -> gv.Run:
    usual = gv.Recipe("regularized", guide="laplace-normal", options=FEW)
    recipe = usual if request.param == "hybrid-told" else gv.Recipe(guide="modes", double=True)
    return gv.fit("pendulum", data, variant=request.param, recipe=recipe)


def alone(data: gv.Dataset, i: int) -> gv.Dataset:
    """One series without its batch-mates and without padding, on a grid that is not its own."""
    n = data.lengths[i]
    return gv.Dataset(
        data.x[i : i + 1, :n],
        {"t": data.coordinates["t"][i, :n]},
        {name: value[i : i + 1] for name, value in data.truth.items()},
    )


def test_the_fit_and_all_that_it_gives_are_finite(
    run: gv.Run, data: gv.Dataset, tmp_path: Path
) -> None:
    assert run.fit.ending is Ending.FINISHED
    run.save(tmp_path / "run")
    found = gv.posterior(gv.load_run(tmp_path / "run"), data, DRAWS)
    for values in found["posterior"].data_vars.values():
        assert np.isfinite(values.values).all()
    there = ~np.isnan(data.x)
    predicted = found["posterior_predictive"]["x"].values
    likelihood = found["log_likelihood"]["x"].values
    for values in (predicted, likelihood):  # of a dozen series evidence learns little: a path
        assert np.isfinite(values[..., there]).mean() > FINITE[run.config.variant]  # can diverge
    assert np.isnan(likelihood[..., ~there]).all()  # of what nobody observed


def test_padding_and_batch_mates_do_not_move_the_log_density(run: gv.Run, data: gv.Dataset) -> None:
    model = run.model.double()
    batch = Batch.of(data, dtype=torch.float64)
    torch.manual_seed(0)
    drawn = {name: torch.as_tensor(data.truth[name]) for name in ("omega", "theta0")}
    drawn["z_aux"] = 0.1 * torch.randn(len(data), model.auxiliary, dtype=torch.float64)

    def log_joint(batch: Batch, rows: slice) -> torch.Tensor:
        given = {name: value[rows] for name, value in drawn.items()}
        trace = poutine.trace(poutine.condition(model, data=given)).get_trace(batch)
        return log_prob_of(trace, batch).detach()

    together = log_joint(batch, slice(None))
    assert torch.isfinite(together).all()
    for i in range(3):
        single = log_joint(Batch.of(alone(data, i), dtype=torch.float64), slice(i, i + 1))
        torch.testing.assert_close(together[i : i + 1], single, rtol=1e-9, atol=1e-9)


def test_padding_and_batch_mates_do_not_move_the_guide(run: gv.Run, data: gv.Dataset) -> None:
    """Of the shortest series, whose padding is longest: what amortized guides say of it alone."""
    if run.config.how.guide == "modes":
        pytest.skip("a search has many starts, and a batch's worst is searched again")
    model, guide = run.model.double(), run.guide.double()
    guide.attach(model)
    latents = {name: torch.as_tensor(data.truth[name]) for name in ("omega", "theta0")}
    latents["z_aux"] = torch.zeros(len(data), model.auxiliary, dtype=torch.float64)
    own = {name: value[2:3] for name, value in latents.items()}
    together = guide.log_prob(Batch.of(data, dtype=torch.float64), latents)[2:3]
    single = guide.log_prob(Batch.of(alone(data, 2), dtype=torch.float64), own)
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, single, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("acts_on", ["velocity", ("velocity", "theta")])
def test_sensitivities_on_grids_of_their_own_are_those_of_each_alone(
    data: gv.Dataset, acts_on: str | tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = Batch.of(data, dtype=torch.float64)
    model = gv.GreyBox(Pendulum(), gv.Unknown(acts_on))
    model.prepare(batch)
    (residual,) = model.terms
    assert isinstance(residual, gv.Unknown)
    residual.blank()  # unfitted, it would be silent, and its columns zero
    scores = [NormalScore(like(z.prior, batch.x)) for z in model.latents]
    torch.manual_seed(0)
    at = 0.02 * torch.randn(len(data), 2 + model.auxiliary, dtype=torch.float64)
    found, states = linearize(model, scores, at, batch), states_of(model, scores, at, batch)
    for i in range(3):
        own = Batch.of(alone(data, i), dtype=torch.float64)
        single, n = linearize(model, scores, at[i : i + 1], own), own.x.shape[1]
        torch.testing.assert_close(found.mean[i : i + 1, :n], single.mean)
        torch.testing.assert_close(found.jacobian[i : i + 1, :n], single.jacobian)
        for name, values in states_of(model, scores, at[i : i + 1], own).items():
            torch.testing.assert_close(states[name][i : i + 1, :n], values)
    monkeypatch.setattr(sensitivity, "fixed_step", lambda *_: None)
    forward = linearize(model, scores, at, batch)
    kept = [i for i in range(at.shape[1]) if i != 2]  # the search holds the push's own size
    torch.testing.assert_close(
        found.jacobian[..., kept], forward.jacobian[..., kept], rtol=1e-6, atol=1e-8
    )
