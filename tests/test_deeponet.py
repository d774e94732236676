"""A residual that is two networks, and the guide that fits it at the modes."""

from __future__ import annotations

import pytest
import torch

from groundvae.data.batch import Batch
from groundvae.data.pendulum import simulate
from groundvae.guides.catalogue import build_guide
from groundvae.guides.loosened import follow_loosely
from groundvae.guides.modes import ModeGuide
from groundvae.guides.phase import Ending
from groundvae.guides.tangent import Tangent
from groundvae.inference.optimize import optimize
from groundvae.inference.preset import build_loss
from groundvae.models import sensitivity
from groundvae.models.greybox import GreyBox
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.recipe import FitOptions
from groundvae.models.residuals import DeepONet
from groundvae.models.residuals.deeponet import FINE
from groundvae.models.systems.pendulum import Pendulum


def model(**options: float) -> GreyBox:
    torch.manual_seed(0)
    residual = DeepONet("velocity", ("theta", "velocity"), pairs=3, functions=2, **options)  # type: ignore[arg-type]
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


def test_at_first_every_function_of_time_moves_a_path_alike() -> None:
    grey, batch = model(), Batch.of(simulate(20, 1))
    grey.prepare(batch)
    (residual,) = grey.terms
    assert isinstance(residual, DeepONet)
    step = 2.45 / FINE
    push = residual.of_time(torch.linspace(0, 2.45, FINE)) * residual.unit[: residual.timed]
    velocity = torch.zeros(residual.timed)
    path = [velocity]
    for pushed in push:  # Euler's
        velocity = velocity + step * pushed
        path.append(path[-1] + step * velocity)
    moved = torch.stack(path[1:]).square().mean(0).sqrt()
    assert moved.detach().numpy() == pytest.approx(float(moved[0]), rel=1e-3)
    assert float(moved.square().sum().sqrt()) == pytest.approx(0.3 * float(batch.x.std()), rel=1e-3)


@pytest.mark.parametrize("auxiliary", [None, 30])
def test_what_it_does_stays_when_its_scales_move(auxiliary: int | None) -> None:
    torch.manual_seed(0)
    residual = DeepONet("velocity", ("velocity",), pairs=3, functions=2, auxiliary=auxiliary)
    at = torch.randn(4, residual.auxiliary)
    before = residual.weights(at)
    for parameter in residual.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    assert not torch.allclose(residual.weights(at), before, rtol=0.01)
    torch.testing.assert_close(
        residual.weights(residual.auxiliary_of(before, at)), before, rtol=1e-3, atol=1e-4
    )


def test_a_tangent_is_the_model_and_its_jacobian_at_one_point() -> None:
    grey = model().double()
    guide = build_guide("modes", grey, 50)
    assert isinstance(guide, ModeGuide)
    batch = Batch.of(simulate(3, 1), dtype=torch.double)
    scores = guide.scores(batch.x)
    at, way = torch.randn(2, 3, 2 + grey.auxiliary, generator=torch.Generator().manual_seed(1))
    at, way = 0.3 * at.double(), 0.2 * way.double()
    found = sensitivity.linearize(grey, scores, at, batch)
    there = at + way
    physics = {n: s.value(u) for n, s, u in zip(grey.latents.names, scores, there.T, strict=False)}
    seen = Tangent(grey, scores, at).decode(physics, there[:, 2:], batch.inputs).full
    expected = found.mean + (found.jacobian @ way.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-3)
    assert float((expected - found.mean).abs().max().detach()) > 0.1


def test_a_search_that_begins_loosely_arrives_where_a_plain_one_does_not() -> None:
    torch.manual_seed(0)
    grey = GreyBox(Pendulum(), DeepONet("velocity", ("velocity",)), Gaussian(0.05)).double()
    batch = Batch.of(simulate(12, 1), dtype=torch.double)
    grey.prepare(batch)
    guide = build_guide("modes-structured", grey, 50).double()
    assert isinstance(guide, ModeGuide)
    guide.attach(grey)
    guide.prepare(batch)
    search, plain = (guide.start(batch, torch.ones(12, dtype=torch.long)) for _ in range(2))
    for each in (search, plain):
        each.renew()
    follow_loosely(search)
    for _ in range(9):  # as many steps
        plain.move()
    assert search.widths is None
    loosely, plainly = (each.evidence(each.linear()).mean() for each in (search, plain))
    assert loosely > plainly + 20


@pytest.mark.slow
def test_a_fit_learns_model_noise_and_answer_at_the_modes() -> None:
    grey, data = model(start=1.0).double(), Batch.of(simulate(12, 1), dtype=torch.double)
    grey.prepare(data)
    guide = build_guide("modes-structured", grey, 50).double()
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
