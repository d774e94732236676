"""The physics latents with the residual off: the fit finds them, and the shift is validated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from groundvae.data.batch import Batch
from groundvae.data.pendulum import TIMES
from groundvae.diagnostics.physics_only_refit import (
    PhysicsOnlyRefit,
    compute_physics_only_refit,
    fit_physics,
)
from groundvae.inference.run import RunConfig, new_run
from groundvae.models.greybox import GreyBox

PRIOR = {"omega": 1.0}


@pytest.fixture(scope="module")
def model() -> GreyBox:
    return new_run(RunConfig("pendulum", len(TIMES), "hybrid-told")).model


def swings(model: GreyBox, truth: dict[str, torch.Tensor], noise: float) -> Batch:
    inputs = {"t": torch.as_tensor(TIMES, dtype=torch.float32)}
    with torch.no_grad():
        alone = model.decode(truth, torch.zeros(len(truth["omega"]), 4), inputs).physics
    assert alone is not None
    return Batch(alone + noise * torch.randn_like(alone), inputs)


@pytest.mark.parametrize("seed", range(3))
def test_physics_alone_is_fitted_to_each_observation(model: GreyBox, seed: int) -> None:
    torch.manual_seed(seed)
    sign = torch.sign(torch.randn(40))
    truth = {"omega": 1 + 2 * torch.rand(40), "theta0": sign * (0.5 + torch.rand(40))}
    batch = swings(model, truth, 0.01)
    start = {k: (v * (1 + 0.2 * torch.randn(40))).numpy() for k, v in truth.items()}
    start["omega"] = np.clip(start["omega"], 0.5, 3.4)
    start["theta0"] = np.clip(start["theta0"], -1.9, 1.9)
    gaps = torch.rand(40, len(TIMES)) > 0.2
    for each in (batch, Batch(batch.x.masked_fill(~gaps, 9.0), batch.inputs, gaps)):
        found = fit_physics(model, each, start)
        for name, value in found.items():
            # Noise of 0.01 rad leaves some thousandths.
            np.testing.assert_allclose(value, truth[name].numpy(), atol=0.04)


def test_an_observation_is_fitted_by_itself(model: GreyBox) -> None:
    truth = {"omega": torch.tensor([1.5, 2.5]), "theta0": torch.tensor([1.0, -1.0])}
    batch = swings(model, truth, 0.0)
    start = {"omega": np.array([2.0, 2.0]), "theta0": np.array([0.5, -0.5])}
    both = fit_physics(model, batch, start)
    one = fit_physics(model, batch[:1], {k: v[:1] for k, v in start.items()})
    np.testing.assert_allclose(both["omega"][:1], one["omega"], rtol=1e-4)


@pytest.mark.parametrize(("shift", "level"), [(0.02, "good"), (0.3, "doubtful"), (-1.0, "bad")])
def test_the_shift_is_judged_in_units_of_the_prior(shift: float, level: str) -> None:
    rng = np.random.default_rng(0)
    mean = rng.normal(size=100)
    draws = {"omega": mean + 0.1 * rng.normal(size=(200, 100))}
    result = compute_physics_only_refit(draws, {"omega": mean + shift}, PRIOR)
    verdict = PhysicsOnlyRefit().verdicts(result)[0]
    assert verdict.level == level
    assert float(result["of_posterior"].median()) == pytest.approx(10 * shift, abs=0.2)
    few = result.isel(observation=slice(5))
    assert PhysicsOnlyRefit().verdicts(few)[0].level == "not enough data"


def test_an_angle_moves_the_short_way_round() -> None:
    draws = {"angle": np.array([[0.05], [0.1], [3.1]])}
    result = compute_physics_only_refit(
        draws, {"angle": np.array([3.0])}, {"angle": 1.0}, {"angle": np.pi}
    )
    assert abs(float(result["shift"].item())) < 0.3
