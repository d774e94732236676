"""Lifted paths: what they find is what a search along solved paths finds, and more of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import groundvae as gv
from groundvae.data.batch import Batch
from groundvae.guides.ascent import ascend
from groundvae.guides.follow import follow, parts_of
from groundvae.guides.lifted import lift
from groundvae.guides.search import Search, starts
from groundvae.models.normalscore import NormalScore
from groundvae.models.path import along, solved
from groundvae.models.precision import like
from groundvae.models.sensitivity import fixed_step, linearize
from groundvae.models.systems.pendulum import Pendulum

N, TIME = 6, torch.linspace(0.0, 2.45, 50, dtype=torch.float64)


@pytest.fixture(scope="module")
def search() -> Search:
    """Pendulums that something unknown pushes, at the middle of their priors."""
    model = gv.GreyBox(
        Pendulum(), gv.Unknown("velocity", sees=("velocity",), learned=0), gv.Gaussian(0.01)
    )
    blank = Batch(torch.zeros(N, 50, dtype=torch.float64), {"t": TIME})
    model.prepare(blank)
    (residual,) = model.terms
    assert isinstance(residual, gv.Unknown)
    residual.blank()
    residual.log_power.data.copy_(torch.linspace(-1.0, -20.0, residual.log_power.shape[-1]))
    residual.log_constant.data.fill_(-2.0)
    residual.log_variance.data.fill_(-9.0)
    residual.log_own_spread.data.fill_(-3.0)
    model.double()
    scores = [NormalScore(like(z.prior, blank.x)) for z in model.latents]
    torch.manual_seed(3)
    truth = torch.randn(N, 2 + model.auxiliary, dtype=torch.float64)
    truth[:, 2] = 0.0
    x = linearize(model, scores, truth, blank).mean
    x = x + 0.01 * torch.randn_like(x)
    at = starts(1, 2, truth.shape[1], x).expand(N, -1).clone()
    return Search(model, scores, Batch(x, {"t": TIME}), at)


def test_a_solved_path_is_where_the_law_has_it(search: Search) -> None:
    """Lifting a path that solves its law changes nothing, and says so."""
    method = fixed_step(search.model)
    assert method is not None
    asked = search.model, search.scores, search.at, search.batch
    path = solved(*asked, method)
    plain, lifted = along(path, *asked), along(path, *asked, lifted=True)
    torch.testing.assert_close(lifted.found.mean, plain.found.mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(lifted.found.jacobian, plain.found.jacobian)
    torch.testing.assert_close(lifted.shifted(search.at).states, path.states, rtol=0, atol=1e-12)


def test_a_bent_path_is_corrected_to_second_order(search: Search) -> None:
    """Newton's step: what is left falls with the square of how far the path was off."""
    method = fixed_step(search.model)
    assert method is not None
    asked = search.model, search.scores, search.at, search.batch
    path = solved(*asked, method)
    torch.manual_seed(1)
    bend = torch.randn_like(path.states)
    left = []
    for size in (1e-2, 1e-3):
        bent = type(path)(path.states + size * bend, path.grid, path.requested, method)
        back = along(bent, *asked, lifted=True).shifted(search.at)
        left.append(float((back.states - path.states).abs().max()))
    assert left[0] / left[1] == pytest.approx(100.0, rel=0.3)


def test_modes_are_those_of_a_search_along_solved_paths(search: Search) -> None:
    parts = parts_of(search.model)
    rows = torch.arange(N)
    lifted, plain = search.pick(rows), search.pick(rows)
    assert bool(lift(lifted, parts, own=False).all())
    follow(plain, parts)
    for _ in range(60):
        plain.move()
    for each in (lifted, plain):
        for _ in range(5):  # the last digits
            each.move()
    there, known = lifted.linear().joint.numpy(), plain.linear().joint.numpy()
    assert np.all(there > known - 1e-3)
    assert np.sum(np.abs(there - known) < 1e-3) >= N - 2  # a plain search may end elsewhere


def test_what_does_not_arrive_stays_and_is_searched_for(search: Search) -> None:
    """A series that is all but infinite cannot be lifted: it costs itself, and no other."""
    rows = torch.arange(N)
    some, clean = search.pick(rows), search.pick(rows)
    some.batch = search.batch.with_x(search.batch.x.clone())
    some.batch.x[0, 20] = 1e200
    arrived = lift(some, parts_of(search.model), own=True)
    assert not arrived[0]
    torch.testing.assert_close(some.at[0], search.at[0])
    for each in (clean, some):
        ascend(each, parts_of(search.model), lifts=True)
    torch.testing.assert_close(some.at[1:], clean.at[1:], rtol=0, atol=1e-3)
