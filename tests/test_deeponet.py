"""A residual that is two networks, and the guide that fits it at the modes."""

from __future__ import annotations

import pytest
import torch

from groundvae.data.batch import Batch
from groundvae.data.pendulum import simulate
from groundvae.guides.catalogue import build_guide
from groundvae.guides.modes import ModeGuide
from groundvae.guides.phase import Ending
from groundvae.inference.optimize import optimize
from groundvae.inference.preset import build_loss
from groundvae.models import sensitivity
from groundvae.models.greybox import GreyBox
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.recipe import FitOptions
from groundvae.models.residuals import DeepONet
from groundvae.models.systems.pendulum import Pendulum


def model(**options: int) -> GreyBox:
    torch.manual_seed(0)
    residual = DeepONet("velocity", ("theta", "velocity"), pairs=3, functions=2, **options)
    return GreyBox(Pendulum(), residual, Gaussian(0.1))


def test_its_sensitivities_are_those_of_forward_differentiation() -> None:
    grey = model(auxiliary=5).double()
    for parameter in grey.parameters():  # nothing silent, nothing linear
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    guide = build_guide("modes", grey, 50)
    assert isinstance(guide, ModeGuide)
    batch = Batch.of(simulate(3, 1), dtype=torch.double)
    scores = guide.scores(batch.x)
    at = 0.5 * torch.randn(3, 7, generator=torch.Generator().manual_seed(1)).double()
    assert sensitivity.fixed_step(grey) is not None
    found = sensitivity.linearize(grey, scores, at, batch)
    with torch.no_grad():
        forward = sensitivity._forward(grey, scores, at, batch)
    torch.testing.assert_close(found.mean, forward.mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(found.jacobian, forward.jacobian, rtol=0, atol=1e-9)


def test_at_first_it_is_one_number_for_each_feature_and_small() -> None:
    grey = model()
    residual = grey.terms[0]
    assert isinstance(residual, DeepONet)
    assert grey.auxiliary == residual.count == 9
    weights = residual.weights(torch.eye(9)).squeeze(-2)
    expected = torch.diag(torch.tensor([4 / 3, *[4 / 3, 8 / 3, 4.0] * 2, 0.05, 0.05]))
    torch.testing.assert_close(weights, expected)


@pytest.mark.slow
def test_a_fit_learns_model_noise_and_answer_at_the_modes() -> None:
    torch.manual_seed(0)
    grey, data = model(), Batch.of(simulate(12, 1))
    guide = build_guide("modes-structured", grey, 50)
    before = float(grey.noise.scale.detach())
    options = FitOptions(steps=12, batch_size=12, learning_rate=1e-2, validate_every=4)
    loss = build_loss("regularized", {"hybrid_simulation": 0.0})
    found = optimize(grey, guide, loss, data, data[torch.arange(2)], options)
    assert found.ending is Ending.FINISHED, found.why
    first, last = found.history[0], found.history[-1]
    assert {"nll", "kl", "ppc", "unmix", "physics_simulation", "answer"} <= first.keys()
    assert last["nll"] < first["nll"]
    assert last["answer"] < first["answer"]
    assert 0.01 < float(grey.noise.scale.detach()) < before
    assert last["valid_elbo"] > -float("inf")
