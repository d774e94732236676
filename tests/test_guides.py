"""Contracts of every guide on every variant of every system."""

from __future__ import annotations

import pytest
import torch
from pyro import plate, poutine

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.guides.catalogue import GUIDES, build_guide
from groundvae.guides.encoder import SeriesEncoder
from groundvae.guides.guide import Guide, log_prob_of
from groundvae.guides.resample import resample
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.penalty import PENALTIES
from groundvae.models.greybox import GreyBox, site_value
from groundvae.models.ownfile import find_system

VARIANTS = ("nn-only", "nn-solver", "physics-only", "hybrid-told")
LEARNED = [name for name in GUIDES if not name.startswith("modes")]  # searched, not read off


def pair(name: str, variant: str = "hybrid-told", n: int = 7) -> tuple[GreyBox, Guide, Batch]:
    """In double precision: what should be equal is then equal to many digits."""
    entry = find_system("pendulum")
    batch = Batch.of(entry.source.simulate(n, 0), dtype=torch.float64)
    torch.manual_seed(0)
    model = entry.build(variant).double()
    guide = build_guide(name, model, 50).double()
    guide.prepare(batch)
    return model, guide, batch


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", LEARNED)
def test_gradient_reaches_every_parameter_of_model_and_guide(name: str, variant: str) -> None:
    model, guide, batch = pair(name, variant)
    with torch.no_grad():  # layers that begin at zero hide those below them
        for parameter in [*model.parameters(), *guide.parameters()]:
            parameter.add_(0.01 * torch.randn_like(parameter))
    for part in {
        guide,
        getattr(guide, "first", guide),
    }:  # what is learned first takes no gradient from the whole
        RegularizedELBO(PENALTIES).differentiable_loss(model, part, batch).backward()
    for kind, module in (("model", model), ("guide", guide)):
        for key, parameter in module.named_parameters():
            assert parameter.grad is not None, f"{kind}.{key}"
            assert torch.isfinite(parameter.grad).all(), f"{kind}.{key}"
            assert float(parameter.grad.abs().max()) > 0, f"{kind}.{key}"


@pytest.mark.parametrize("name", LEARNED)
def test_no_draw_ever_lies_outside_its_prior(name: str) -> None:
    model, guide, batch = pair(name)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter.mul_(1.6)  # a guide gone wild
        trace = poutine.trace(guide).get_trace(batch)
    for latent in model.latents:
        value = site_value(trace, latent.name)
        assert latent.prior.support.check(value).all()
        assert torch.isfinite(latent.prior.log_prob(value)).all()


@pytest.mark.parametrize("name", LEARNED)
def test_log_prob_of_draws_is_the_trace_s(name: str) -> None:
    model, guide, batch = pair(name)
    trace = poutine.trace(guide).get_trace(batch)
    latents = {key: site_value(trace, key) for key in model.latent_names}
    torch.testing.assert_close(
        guide.log_prob(batch, latents), log_prob_of(trace, batch), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("name", LEARNED)
def test_batched_equals_looped(name: str) -> None:
    model, guide, batch = pair(name)
    trace = poutine.trace(guide).get_trace(batch)
    latents = {key: site_value(trace, key) for key in model.latent_names}
    together = guide.log_prob(batch, latents)
    for i in range(len(batch)):
        one = {key: value[i : i + 1] for key, value in latents.items()}
        alone = guide.log_prob(batch[i : i + 1], one)
        torch.testing.assert_close(alone[0], together[i], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", LEARNED)
def test_many_draws_at_once(name: str) -> None:
    _, guide, batch = pair(name)
    with plate("draw", 11, dim=-2):
        trace = poutine.trace(guide).get_trace(batch)
    assert site_value(trace, "omega").shape == (11, 7)
    assert site_value(trace, "z_aux").shape == (11, 7, 4)
    assert log_prob_of(trace, batch).shape == (11, 7)


def test_an_unknown_guide_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"known: structured-normal"):
        pair("structured-magic")


def smooth(times: torch.Tensor) -> torch.Tensor:
    phases = torch.tensor([[0.0], [1.0]])
    return torch.cos(2 * torch.pi * 0.4 * times + phases) + 0.3 * torch.sin(
        2 * torch.pi * 4.0 * times
    )


def test_series_on_other_grids_read_as_on_the_own() -> None:
    grid = torch.linspace(0, 2.45, 50, dtype=torch.float64)
    finer = torch.linspace(0, 2.45, 121, dtype=torch.float64)
    carried = resample(smooth(finer), finer, grid)
    assert float((carried - smooth(grid)).abs().max()) < 0.02


def test_gaps_are_filled_and_the_rest_is_kept() -> None:
    grid = torch.linspace(0, 2.45, 50, dtype=torch.float64)
    seen = torch.ones(2, 50, dtype=torch.bool)
    seen[0, [7, 20, 33]] = False
    filled = resample(smooth(grid).masked_fill(~seen, 99.0), grid, grid, seen)
    assert torch.equal(filled[seen], smooth(grid)[seen])
    assert float((filled - smooth(grid)).abs().max()) < 0.2


def test_an_encoder_sees_missing_samples_only_as_missing() -> None:
    entry = find_system("pendulum")
    batch = Batch.of(entry.source.simulate(4, 0))
    encoder = SeriesEncoder(50)
    encoder.prepare(batch)
    seen = torch.ones_like(batch.x, dtype=torch.bool)
    seen[:, 10] = False
    one = encoder.read(Batch(batch.x.masked_fill(~seen, 0.0), batch.inputs, seen))
    other = encoder.read(Batch(batch.x.masked_fill(~seen, 50.0), batch.inputs, seen))
    torch.testing.assert_close(one, other)
