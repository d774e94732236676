"""The contract of every guide with the full model of every system."""

from __future__ import annotations

import pytest
import torch
from pyro import plate, poutine

from groundvae.data.batch import Batch
from groundvae.guides.catalogue import GUIDES, build_guide
from groundvae.guides.guide import Guide, log_prob_of
from groundvae.guides.options import GuideOptions
from groundvae.inference.elbo import RegularizedELBO
from groundvae.models.greybox import GreyBox, site_value
from groundvae.models.systems import SYSTEMS

SMALL = GuideOptions(width=16, blocks=1)
N, DRAWS = 5, 3


pytestmark = pytest.mark.usefixtures("one_thread")


def made(system: str, name: str, seed: int = 0) -> tuple[GreyBox, Guide, Batch]:
    entry = SYSTEMS[system]
    batch = Batch.of(entry.source.simulate(N, 0), dtype=torch.float64)
    torch.manual_seed(seed)
    variant = "hybrid-told" if system == "pendulum" else "hybrid-reg"
    model = entry.build(variant).double()
    guide = build_guide(name, model, batch.x.shape[1], SMALL).double()
    guide.prepare(batch)
    return model, guide, batch


def drawn(guide: Guide, batch: Batch, seed: int) -> poutine.Trace:
    torch.manual_seed(seed)
    with plate("draw", DRAWS, dim=-2):
        return poutine.trace(guide).get_trace(batch)


EVERY = [(system, name) for system in SYSTEMS for name in GUIDES if not name.startswith("modes")]


@pytest.mark.parametrize(("system", "name"), EVERY)
def test_contract(system: str, name: str) -> None:
    model, guide, batch = made(system, name)
    trace = drawn(guide, batch, seed=1)
    for latent in model.latents:
        value = site_value(trace, latent.name)
        assert value.shape == (DRAWS, N)
        assert value.dtype == torch.float64
        assert latent.prior.support.check(value).all()
    density = log_prob_of(trace, batch)
    assert density.shape == (DRAWS, N)
    assert torch.isfinite(density).all()

    again = drawn(guide, batch, seed=1)
    other = drawn(guide, batch, seed=2)
    first = model.latent_names[0]
    assert torch.equal(site_value(trace, first), site_value(again, first))
    assert not torch.equal(site_value(trace, first), site_value(other, first))

    twin = made(system, name, seed=9)[1]
    twin.load_state_dict(guide.state_dict())
    twin.attach(model)
    assert torch.equal(site_value(drawn(twin, batch, seed=1), first), site_value(trace, first))

    with torch.no_grad():  # layers that begin at zero hide those below them
        for parameter in guide.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    for part in {
        guide,
        getattr(guide, "first", guide),
    }:  # what is learned first takes no gradient from the whole
        RegularizedELBO().differentiable_loss(model, part, batch).backward()
    for key, parameter in guide.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
