"""What a law makes of a term that is missing and acts as the law does: exact answers."""

from pathlib import Path

import numpy as np
import pyro.distributions as dist
import pytest
import torch

import groundvae as gv
from groundvae.data.batch import Batch
from groundvae.diagnostics.answers import answer
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.discovery import Discovered
from groundvae.inference.imitation import imitations
from groundvae.models.dynamics import Rate
from groundvae.models.normalscore import NormalScore
from groundvae.models.recipe import EVIDENCE
from groundvae.models.residuals import Unknown
from groundvae.models.values import Values

TIMES = np.linspace(0.0, 3.0, 31)
NOISE = 0.02  # m
OMEGA, START = np.array([1.5, 2.0, 2.5]), np.array([0.8, -0.6, 1.0])


class Spring(gv.Dynamics):
    """A mass on a spring."""

    omega = gv.Latent(dist.Normal(2.0, 0.5), "rad/s", "sqrt(k / m)")
    start = gv.Latent(dist.Normal(0.0, 1.0), "m", "where the mass is let go")
    states = ("position", "velocity")
    observed = "position"

    def initial(self, z: Values, inputs: Values) -> Rate:
        return {"position": z.start, "velocity": 0.0 * z.start}

    def rate(self, t: torch.Tensor, state: Values, z: Values, inputs: Values) -> Rate:
        return {"position": state.velocity, "velocity": -(z.omega**2) * state.position}


def at_truth(residual: Unknown) -> tuple[gv.GreyBox, list[NormalScore], torch.Tensor, Batch]:
    """A model whose residual does nothing, at springs that are known."""
    model = gv.GreyBox(Spring(), residual, gv.Gaussian(NOISE)).double()
    x = START[:, None] * np.cos(OMEGA[:, None] * TIMES)
    batch = Batch(torch.as_tensor(x), {"t": torch.as_tensor(TIMES)})
    model.prepare(batch)
    model.double()
    scores = [NormalScore(z.prior) for z in model.latents]
    physics = [s.score(torch.as_tensor(v)) for s, v in zip(scores, (OMEGA, START), strict=True)]
    at = torch.zeros(3, 2 + model.auxiliary, dtype=torch.float64)
    at[:, :2] = torch.stack(physics, -1)
    return model, scores, at, batch


@pytest.mark.parametrize("sees", [(), None])
def test_a_stiffer_spring_takes_the_place_of_a_force_that_grows_with_the_position(
    sees: tuple[str, ...] | None,
) -> None:
    """``-w q`` beside ``-omega^2 q`` is an omega larger by ``w / (2 omega)``, whatever is seen."""
    found = imitations(*at_truth(Unknown("velocity", sees=sees)))
    moves = found.set_index(["state", "latent"])["moves"]
    phase = OMEGA[:, None] * TIMES
    gap = np.diff(START[:, None] * -OMEGA[:, None] * np.sin(phase)) / np.diff(TIMES)
    rate = np.median(np.sqrt((gap**2).mean(1)))
    size = np.median(np.sqrt(((START[:, None] * np.cos(phase)) ** 2).mean(1)))
    slope = np.stack([-START[:, None] * TIMES * np.sin(phase), np.cos(phase)], -1) / NOISE
    sd = np.sqrt(np.linalg.inv(np.swapaxes(slope, 1, 2) @ slope)[:, 0, 0])
    expected = 0.1 * rate / size / (2 * OMEGA) / sd
    assert moves["position", "omega"] == pytest.approx(np.sqrt((expected**2).mean()), rel=0.02)
    assert moves["position", "start"] < 0.05 * moves["position", "omega"]


def test_what_a_residual_learns_and_tells_from_the_law_is_not_named() -> None:
    """A friction is among the features, and no spring does what it does."""
    seen = imitations(*at_truth(Unknown("velocity")))
    blind = imitations(*at_truth(Unknown("velocity", sees=())))
    assert set(seen["state"]) == {"position"}
    assert set(blind["state"]) == {"position", "velocity"}


def test_answers_say_what_they_depend_on(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    omega, start = random.uniform(1.5, 2.5, 40), random.uniform(0.5, 1.0, 40)
    x = start[:, None] * np.cos(omega[:, None] * TIMES)
    data = gv.Dataset(x + NOISE * random.standard_normal(x.shape), {"t": TIMES})
    model = gv.GreyBox(Spring(), Unknown("velocity"), gv.Gaussian())
    run = gv.fit(model, data.subset(np.arange(20)), valid=data, recipe=EVIDENCE, seed=0)
    check = Discovered()
    drawn = gv.posterior(run, data.subset(np.arange(20, 40)))
    finding = check(Context(run, drawn))
    of_omega, of_start = finding.verdicts
    assert "nothing that is missing on velocity is proportional to position" in of_omega.provided
    assert not of_start.provided
    said = answer(finding.verdicts, {})
    assert said["intervals"].level == "doubtful"  # other checks are left out here
    assert said["intervals"].sentence.endswith(of_omega.provided)
