"""Samples denser than a solver's steps cost no steps, and are where steps would have taken them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import groundvae as gv
from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.models import sensitivity
from groundvae.models.normalscore import NormalScore
from groundvae.models.precision import like
from groundvae.models.sensitivity import linearize
from groundvae.models.systems.pendulum import Pendulum
from groundvae.physics.dense import dense_output
from groundvae.physics.solver import RK4, Leapfrog, Midpoint, ParallelAdjoint, solve

TIMES = torch.linspace(0, 2.45, 700, dtype=torch.float64)


def swing(time: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    angle, velocity = state.unbind(-1)
    return torch.stack([velocity, -9.0 * torch.sin(angle) + torch.cos(8.0 * time)], -1)


def test_the_error_is_that_of_the_steps() -> None:
    start = torch.tensor([[1.0, 0.0], [-0.5, 2.0]], dtype=torch.float64)
    exact = solve(swing, start, TIMES, RK4(0.002))
    errors = []
    for step in (0.1, 0.05, 0.025):
        dense = dense_output(TIMES, RK4(step))
        assert dense is not None
        found = dense.solve(swing, start, TIMES, RK4(step))
        errors.append(float((found - exact).abs().max()))
    assert errors[1] < 2e-4
    assert errors[0] / errors[1] > 10  # fourth order
    assert errors[1] / errors[2] > 10


@pytest.mark.parametrize("solver", [Midpoint(), Leapfrog(), RK4(0.002)])
def test_others_step_to_every_sample(solver: object) -> None:
    assert dense_output(TIMES, solver) is None  # type: ignore[arg-type]
    assert dense_output(TIMES[::20], ParallelAdjoint()) is None
    assert dense_output(TIMES.expand(2, -1), ParallelAdjoint()) is None


def test_a_law_that_is_driven_steps_along_its_signal() -> None:
    class Driven(gv.Dynamics):
        solver = RK4()
        states = ("x",)
        observed = "x"
        drive = gv.Input(over=("time",), meaning="what it follows")
        rate_ = gv.Latent(gv.LogNormal(0.0, 0.5), meaning="how fast")

        def initial(self, z, inputs):  # type: ignore[no-untyped-def]
            return {"x": 0.0}

        def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
            return {"x": z.rate_ * (inputs.drive - state.x)}

    assert Driven().dense(TIMES) is None


def test_sensitivities_are_those_of_what_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = gv.GreyBox(Pendulum(), gv.Unknown("velocity")).double()
    data = Dataset(np.zeros((3, len(TIMES))), {"t": TIMES.numpy()})
    batch = Batch.of(data, dtype=torch.float64)
    model.prepare(batch)
    (residual,) = model.terms
    assert isinstance(residual, gv.Unknown)
    residual.blank()
    scores = [NormalScore(like(z.prior, batch.x)) for z in model.latents]
    torch.manual_seed(0)
    at = 0.1 * torch.randn(3, 2 + model.auxiliary, dtype=torch.float64)
    found = linearize(model, scores, at, batch)
    monkeypatch.setattr(sensitivity, "fixed_step", lambda *_: None)
    forward = linearize(model, scores, at, batch)
    kept = [i for i in range(at.shape[1]) if i != 2]  # the search holds the push's own size
    torch.testing.assert_close(found.mean, forward.mean)
    torch.testing.assert_close(
        found.jacobian[..., kept], forward.jacobian[..., kept], rtol=1e-6, atol=1e-8
    )
