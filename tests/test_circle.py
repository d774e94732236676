"""Angles that wrap: a guide on the circle has no seam, and its density is exact."""

from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from pyro import plate, poutine
from torch.distributions import constraints

from groundvae.data.batch import Batch
from groundvae.data.galaxy import simulate
from groundvae.guides.catalogue import GUIDES, build_guide
from groundvae.guides.circle import around
from groundvae.guides.family import FAMILIES, NormalFamily
from groundvae.guides.guide import Guide, log_prob_of
from groundvae.guides.laplace import LaplaceGuide
from groundvae.guides.options import GuideOptions
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.nuts import compute_convergence
from groundvae.inference.penalty import PENALTIES
from groundvae.models.axial import AxialVonMises
from groundvae.models.greybox import GreyBox, site_value
from groundvae.models.latent import Latent, LatentSpec
from groundvae.models.ownfile import find_system
from groundvae.models.prior import format_prior, parse_prior

# Guides of modes: see tests/test_circular_modes.py.
AMORTIZED = [name for name in GUIDES if name.startswith(("structured", "joint"))]
AROUND = [*AMORTIZED, "laplace-normal", "laplace-flow"]

PERIOD = math.pi
ANGLE = Latent(
    dist.Uniform(0.0, PERIOD),
    "rad",
    "an axis",
    constraints.interval(0.0, PERIOD),
    period=PERIOD,
    name="angle",
)
SIZE = Latent(dist.LogNormal(0.0, 1.0), "m", "a size", constraints.positive, name="size")
GROUNDING = LatentSpec((SIZE, ANGLE))


def pair(name: str, variant: str = "hybrid", n: int = 2) -> tuple[GreyBox, Guide, Batch]:
    batch = Batch.of(simulate(n, 0), dtype=torch.float64)
    torch.manual_seed(0)
    model = find_system("galaxy").build(variant).double()
    guide = build_guide(name, model, 69).double()
    guide.prepare(batch)
    return model, guide, batch


@pytest.mark.parametrize("family", FAMILIES)
def test_the_density_over_the_circle_integrates_to_one(family: str) -> None:
    torch.manual_seed(0)
    only = LatentSpec((ANGLE,))
    wrapped = around(FAMILIES[family](5, 1, GuideOptions()), 5, only, None).double()
    features = torch.randn(4, 5, dtype=torch.float64)
    grid = torch.linspace(0, PERIOD, 4001, dtype=torch.float64)[:-1].view(-1, 1, 1)
    density = wrapped(features).log_prob(grid.expand(-1, 4, 1)).exp().detach()
    torch.testing.assert_close(
        density.mean(0) * PERIOD, torch.ones(4, dtype=torch.float64), atol=1e-3, rtol=0
    )


def test_the_density_has_no_seam() -> None:
    torch.manual_seed(0)
    wrapped = around(NormalFamily(2, 1, GuideOptions()), 2, LatentSpec((ANGLE,)), (0, 1))
    at_the_seam = wrapped(torch.tensor([[1.0, 0.0]]))  # the heading is 0, which is pi
    just = torch.tensor([[1e-4], [PERIOD - 1e-4]])
    log_prob = at_the_seam.log_prob(just.unsqueeze(1)).squeeze(1).detach()
    assert float((log_prob[0] - log_prob[1]).abs()) < 0.01
    turns = torch.exp(2j * at_the_seam.sample(torch.Size([4000])))
    assert float(turns.mean().abs()) > 0.8  # one heap around the seam, not two at both ends


def test_a_latent_is_circular_where_its_prior_spans_the_circle() -> None:
    narrow = GROUNDING.with_priors({"angle": dist.Uniform(0.5, 1.0)})
    assert [z.circular for z in GROUNDING.latents] == [False, True]
    assert [z.circular for z in narrow.latents] == [False, False]
    values, _ = narrow.constrain(torch.randn(50, 2))
    assert narrow.latents[1].prior.support.check(values["angle"]).all()


def test_whole_periods_make_no_difference() -> None:
    u = torch.randn(50, 2)
    more = u + torch.tensor([0.0, 3 * PERIOD])
    one, other = GROUNDING.constrain(u)[0]["angle"], GROUNDING.constrain(more)[0]["angle"]
    away = torch.remainder(one - other + PERIOD / 2, PERIOD) - PERIOD / 2
    assert float(away.abs().max()) < 1e-5
    assert ANGLE.prior.support.check(one).all()
    assert torch.isfinite(ANGLE.prior.log_prob(one)).all()


@pytest.mark.parametrize("name", AROUND)
def test_draws_are_scored_as_they_were_drawn(name: str) -> None:
    model, guide, batch = pair(name)
    with plate("draw", 5, dim=-2):
        trace = poutine.trace(guide).get_trace(batch)
    assert site_value(trace, "position_angle").shape == (5, 2)
    latents = {key: site_value(trace, key)[2] for key in model.latent_names}
    torch.testing.assert_close(
        guide.log_prob(batch, latents), log_prob_of(trace, batch)[2], rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("name", AMORTIZED)
def test_gradient_reaches_every_parameter(name: str) -> None:
    model, guide, batch = pair(name)
    with torch.no_grad():
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(0.01 * torch.randn_like(parameter))
    RegularizedELBO(PENALTIES).differentiable_loss(model, guide, batch).backward()
    for kind, module in (("model", model), ("guide", guide)):
        for key, parameter in module.named_parameters():
            if not parameter.requires_grad:  # a noise's shape, which its refit moves
                continue
            assert parameter.grad is not None, f"{kind}.{key}"
            assert torch.isfinite(parameter.grad).all(), f"{kind}.{key}"
            assert float(parameter.grad.abs().max()) > 0, f"{kind}.{key}"


def test_a_fresh_guide_sees_the_axis_at_every_angle_alike() -> None:
    """The seam at 0 and pi is an angle like any other."""
    data = simulate(40, 3)
    _, guide, _ = pair("structured-normal")
    batch = Batch.of(data, dtype=torch.float64)
    with plate("draw", 60, dim=-2):
        drawn = site_value(poutine.trace(guide).get_trace(batch), "position_angle")
    axis = np.angle(np.exp(2j * drawn.detach().numpy()).mean(0)) / 2
    off = np.abs((axis - data.truth["position_angle"] + PERIOD / 2) % PERIOD - PERIOD / 2)
    seam = np.minimum(data.truth["position_angle"], PERIOD - data.truth["position_angle"]) < 0.3
    assert seam.sum() >= 4
    assert np.median(off[seam]) < 0.15
    assert np.median(off) < 0.15


def test_a_search_round_the_circle_finds_the_same_wherever_it_is_cut() -> None:
    model, guide, batch = pair("laplace-normal")
    assert isinstance(guide, LaplaceGuide)
    start, scale, cut = guide._start(batch)
    mode = guide._search(batch, start, scale, cut)
    elsewhere = guide.circles.cut(cut.heading + 0.2)
    again = guide._search(batch, *elsewhere.line(cut(start), scale), elsewhere)
    place = guide.circles.places
    off = model.latents.latents[3].difference(
        cut(mode.centre)[:, place], elsewhere(again.centre)[:, place]
    )
    assert float(off.abs().max()) < 0.02
    torch.testing.assert_close(mode.mean, again.mean, atol=0.03, rtol=0)


def test_differences_go_the_short_way_round() -> None:
    near, far = torch.tensor([0.1, 1.0]), torch.tensor([PERIOD - 0.1, 0.5])
    torch.testing.assert_close(ANGLE.difference(near, far), torch.tensor([0.2, 0.5]))
    torch.testing.assert_close(SIZE.difference(near, far), near - far)


def test_a_prior_of_axes_has_no_seam_and_keeps_the_circle() -> None:
    prior = AxialVonMises(torch.tensor(0.1), torch.tensor(3.0))
    grid = torch.linspace(0, PERIOD, 4001)[:-1]
    assert float(prior.log_prob(grid).exp().mean()) * PERIOD == pytest.approx(1.0, abs=1e-4)
    torch.manual_seed(0)
    turns = torch.exp(2j * prior.sample(torch.Size([20000]))).mean()
    assert float(turns.angle()) / 2 == pytest.approx(0.1, abs=0.02)
    swapped = GROUNDING.with_priors({"angle": parse_prior(format_prior(prior))})
    assert swapped.latents[1].circular
    assert swapped.latents[1].prior_like(torch.zeros(1, dtype=torch.float64)).loc == prior.loc
    found = find_system("galaxy").build(priors={"position_angle": prior})
    batch = Batch.of(simulate(3, 0))
    guide = build_guide("joint-flow", found, 69)
    assert math.isfinite(RegularizedELBO().loss(found, guide, batch))


@pytest.mark.parametrize("angle", [1.0, 0.0])
def test_nuts_moves_and_is_judged_on_a_line_that_is_cut_far_from_the_draws(angle: float) -> None:
    torch.manual_seed(0)
    place = [z.circular for z in GROUNDING.latents].index(True)
    period = GROUNDING.latents[place].period
    assert period is not None
    draws = torch.zeros(500, 3, len(GROUNDING) + 1)
    draws[..., place] = torch.remainder(angle + 0.01 * torch.randn(500, 3), period)
    lifted = GROUNDING.lifted(draws)
    assert float(lifted[..., place].std(0).max()) < 0.012
    torch.testing.assert_close(torch.remainder(lifted[..., place], period), draws[..., place])
    assert lifted.shape == draws.shape


def test_chains_that_disagree_at_the_seam_are_found_out() -> None:
    rng = np.random.default_rng(0)
    around = 0.01 * rng.normal(size=(4, 200, 2)) + 0.01 * np.arange(4)[:, None, None]
    found = []
    for angle in (1.0, 0.0):
        variable = xr.Variable(
            ("chain", "draw", "observation"), (angle + around) % math.pi, {"period": math.pi}
        )
        found.append(compute_convergence(xr.Dataset({"angle": variable}))["r_hat"].values)
    assert found[0].min() > 1.1
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
