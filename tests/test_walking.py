"""Exact draws by walking: a guide that stands aside, a target of which everything is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from groundvae.guides.densenormal import DenseNormal
from groundvae.inference import arviz as az
from groundvae.inference import walking
from groundvae.inference.walking import Walked, walk_chains

if TYPE_CHECKING:
    from groundvae.data.batch import Batch
    from groundvae.inference.run import Run

N, CHAINS, DRAWS = 30, 4, 250
SCALE = 0.6  # of Gumbel's distribution, whose tail no normal has

pytestmark = pytest.mark.usefixtures("one_thread")


class Aside:
    """A normal guide of two latents, not where the target is and without its shape."""

    def __init__(self, n: int) -> None:
        scale = (1.4 * torch.eye(2).double()).expand(n, 2, 2)
        self.normal = DenseNormal(torch.full((n, 2), 0.5).double(), scale_tril=scale)

    def begin(self, draws: int) -> Tensor:
        return self.normal.rsample(torch.Size([draws]))

    def moved(self, point: Tensor, kept: float) -> Tensor:
        return self.normal.moved(point, kept)

    def latents(self, point: Tensor) -> dict[str, Tensor]:
        return {"a": point[..., 0], "b": point[..., 1]}

    def log_prob(self, point: Tensor) -> Tensor:
        found: Tensor = self.normal.log_prob(point)
        return found


def log_target(run: Run, batch: Batch, latents: Mapping[str, Tensor]) -> Tensor:
    """``a`` is Gumbel's, ``b`` a normal of width 0.5 about it; nowhere where ``a`` is above 20."""
    assert run is not None
    assert len(batch) == latents["a"].shape[1]
    at = latents["a"] / SCALE
    off = (latents["b"] - latents["a"]) / 0.5
    normal = -0.5 * off**2 - math.log(0.5 * math.sqrt(2 * math.pi))
    density = -at - (-at).exp() - math.log(SCALE) + normal
    return density.masked_fill(latents["a"] > 20, torch.nan)


@pytest.fixture(scope="module")
def walked() -> tuple[Walked, list[tuple[int, int]]]:
    guide = SimpleNamespace(examine=lambda _: None, walk=lambda batch, *_: Aside(len(batch)))
    run = cast("Run", SimpleNamespace(guide=guide))
    steps: list[tuple[int, int]] = []
    batch = cast("Batch", torch.arange(N))
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(walking, "log_joint_of", log_target)
        torch.manual_seed(0)
        found = walk_chains(run, batch, CHAINS, DRAWS, 500, lambda *told: steps.append(told))
    return found, steps


def test_chains_have_the_target_and_agree(walked: tuple[Walked, list[tuple[int, int]]]) -> None:
    found, _ = walked
    a, b = (found.latents[k].numpy() for k in ("a", "b"))
    assert a.shape == b.shape == (CHAINS * DRAWS, N)
    mean = SCALE * np.euler_gamma
    assert a.mean() == pytest.approx(mean, abs=0.02)
    assert a.std() == pytest.approx(SCALE * math.pi / math.sqrt(6), rel=0.03)
    assert (b - a).std() == pytest.approx(0.5, rel=0.03)
    levels = np.array([0.05, 0.5, 0.95])
    exact = -SCALE * np.log(-np.log(levels))
    assert np.quantile(a, levels) == pytest.approx(exact, abs=0.04)
    chains = a.reshape(CHAINS, DRAWS, N)  # one after the other
    rhat = az.rhat(xr.Dataset({"a": (("chain", "draw", "observation"), chains)}))["a"]
    assert float((rhat < 1.03).mean()) > 0.9


def test_the_density_is_that_of_the_draws(walked: tuple[Walked, list[tuple[int, int]]]) -> None:
    found, steps = walked
    density = log_target(cast("Run", 0), cast("Batch", torch.arange(N)), found.latents)
    torch.testing.assert_close(found.lp, density)
    assert steps[0][0] == 1
    assert all(step <= total for step, total in steps)
    assert steps[-1][0] == steps[-1][1]


def test_where_weights_say_less_more_steps_are_taken() -> None:
    even = torch.zeros(64, 3)
    even[0, 1], even[0, 2] = 4.0, 30.0  # one draw stands for many, and for all
    steps = walking._steps(even).tolist()
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (walking.STEPS[0], walking.STEPS[-1])
