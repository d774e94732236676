"""Sources of fields: patterns of space and time, in weights of the observation's own."""

from __future__ import annotations

import pytest
import torch

import groundvae as gv
from groundvae.data.batch import Batch
from groundvae.guides.follow import parts_of
from groundvae.guides.lifted import lift
from groundvae.guides.search import Search
from groundvae.models.greybox import GreyBox
from groundvae.models.normalscore import NormalScore
from groundvae.models.precision import like
from groundvae.models.residuals.patterns import Patterns
from groundvae.models.residuals.population import Statistics
from groundvae.models.sensitivity import _forward, linearize
from groundvae.models.systems.advection_diffusion import NonlinearLine

N, NOISE = 5, 0.001
TIME = 0.04 * torch.arange(20, dtype=torch.float64)


def test_patterns_are_products_of_half_waves() -> None:
    patterns = Patterns(1.2, 3, points=7)
    times = torch.linspace(0.0, 1.0, 5, dtype=torch.float64)
    values = patterns.of(times)
    assert values.shape == (5, 7, patterns.count)
    torch.testing.assert_close(values[..., 0], torch.ones(5, 7, dtype=torch.float64))
    gram = values.flatten(0, 1).T @ values.flatten(0, 1)
    assert int(torch.linalg.matrix_rank(gram)) == patterns.count  # no two say the same


def test_every_pattern_has_its_share_of_the_spectrum() -> None:
    for finer in (1, 3):
        hats = Patterns(1.2, 4, points=7, finer=finer).hats
        assert len(hats) == Patterns(1.2, 4, points=7, finer=finer).count - 1
        torch.testing.assert_close(hats.sum(1), torch.ones(len(hats), dtype=torch.float64))


def test_a_source_beyond_the_data_does_not_repeat() -> None:
    """To twice the data patterns lie twice as close; half of those within are the old ones."""
    near, far = Patterns(1.2, 4, points=7), Patterns(1.2, 4, points=7, finer=2)
    times = torch.tensor([0.3], dtype=torch.float64)
    both = set(map(tuple, near.orders.T.tolist())) <= set(map(tuple, far.orders.T.tolist()))
    assert both
    mirrored = 2 * near.span - times  # where the near ones are what they were
    torch.testing.assert_close(near.of(mirrored), near.of(times))
    assert not torch.allclose(far.of(mirrored), far.of(times))


@pytest.fixture(scope="module")
def search() -> Search:
    """Fields that sources move, at the middle of their priors."""
    residual = gv.UnknownField("y", spacing=0.1, frequencies=4)
    model = GreyBox(NonlinearLine(), residual, gv.Gaussian(NOISE))
    blank = Batch(torch.zeros(N, len(TIME), 20, dtype=torch.float64), {"t": TIME})
    model.prepare(blank)
    residual.blank()
    residual.log_power.data.fill_(-2.0)
    residual.log_constant.data.fill_(-2.0)
    residual.log_variance.data.fill_(-5.0)
    residual.log_own_spread.data.fill_(-3.0)
    model.double()
    scores = [NormalScore(like(z.prior, blank.x)) for z in model.latents]
    torch.manual_seed(1)
    truth = torch.randn(N, len(scores) + model.auxiliary, dtype=torch.float64)
    truth[:, len(scores)] = 0.0
    x = linearize(model, scores, truth, blank).mean
    batch = Batch(x + NOISE * torch.randn_like(x), {"t": TIME})
    return Search(model, scores, batch, torch.zeros_like(truth))


def test_tangents_of_a_field_are_those_of_differentiation(search: Search) -> None:
    torch.manual_seed(2)
    at = 0.5 * torch.randn_like(search.at)
    asked = search.model, search.scores, at, search.batch
    with torch.no_grad():
        by_steps, by_forward = linearize(*asked), _forward(*asked)
    torch.testing.assert_close(by_steps.mean, by_forward.mean, rtol=0, atol=1e-10)
    own = len(search.scores)  # moves nothing but the prior of the weights
    steps, forward = by_steps.jacobian, by_forward.jacobian
    others = [i for i in range(steps.shape[-1]) if i != own]
    torch.testing.assert_close(steps[..., others], forward[..., others], rtol=1e-7, atol=1e-9)


def test_fields_beside_sources_are_found(search: Search) -> None:
    """From the middle of the prior, to what the noise leaves."""
    assert bool(lift(search, parts_of(search.model), own=False).all())
    square = ((search.mean - search.batch.x) / NOISE).square().mean((1, 2))
    assert bool((square < 1.2).all())


def test_a_mean_that_a_shared_push_could_be_is_not_known(search: Search) -> None:
    """The information on means is that of a regression on means and shared pushes together."""
    (part,) = parts_of(search.model)
    residual = part.residual
    assert isinstance(residual, gv.UnknownField)
    torch.manual_seed(0)
    design = torch.randn(30, residual.count, dtype=torch.float64)
    gram = design.T @ design
    pull = torch.randn(N, residual.count, dtype=torch.float64)
    statistics = Statistics(
        pull,
        torch.ones_like(pull),
        lambda chosen: gram[chosen][:, chosen].expand(N, -1, -1),
        search.at[:, part.auxiliary],
        torch.ones(N, dtype=torch.bool),
        None,
    )
    columns = torch.tensor([residual.timed, residual.timed + 2])
    found = residual._told(statistics, columns)
    timed = torch.arange(residual.timed)
    both = torch.cat([columns, timed])
    prior = torch.diag(torch.cat([torch.zeros(2), torch.ones(len(timed))])).double()
    covariance = torch.linalg.inv(N * gram[both][:, both] + prior)
    mean = covariance @ pull[:, both].sum(0)
    torch.testing.assert_close(torch.linalg.solve(found[1], found[0]), mean[:2])
    torch.testing.assert_close(torch.linalg.inv(found[1]), covariance[:2, :2])
