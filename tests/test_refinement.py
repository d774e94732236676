"""The scale of a push, and draws that are carried on to the posterior, against what is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor

from groundvae.guides.densenormal import DenseNormal
from groundvae.guides.follow import Part
from groundvae.guides.ownscale import OwnScale
from groundvae.guides.pushposterior import PushPosterior
from groundvae.guides.refinement import Chains, Walk
from groundvae.inference.importance import smooth

PUSH, REST, SPREAD = 9, 3, 1.7


def linear_model(values: int) -> tuple[Tensor, Tensor, Tensor]:
    """``d``, ``P`` and ``R`` of two observations, one of which was hardly pushed."""
    torch.manual_seed(0)
    push, rest = (torch.randn(2, values, size).double() for size in (PUSH, REST))
    effect = 3 * push @ torch.randn(2, PUSH, 1).double() * torch.tensor([1.0, 0.01]).view(2, 1, 1)
    rest_effect = rest @ torch.randn(2, REST, 1).double()
    return (effect + rest_effect).squeeze(-1) + torch.randn(2, values).double(), push, rest


def posterior_of(values: int) -> PushPosterior:
    """With the score in front, then the push, then the rest."""
    own = OwnScale.of(*linear_model(values), torch.tensor(SPREAD).double())
    residual = SimpleNamespace(own_spread=torch.tensor(SPREAD).double())
    part = SimpleNamespace(residual=residual, first=0, push=torch.arange(1, 1 + PUSH))
    return PushPosterior(own, cast("Part", part))


def log_joint(values: int, at: Tensor) -> Tensor:
    """Log density of data and latents at points (draw, 2, latent), without constants."""
    data, push, rest = linear_model(values)
    score, p, r = at[..., 0], at[..., 1 : 1 + PUSH], at[..., 1 + PUSH :]
    root = torch.exp(0.5 * SPREAD * score).unsqueeze(-1)
    mean = root * torch.einsum("nvp,dnp->dnv", push, p) + torch.einsum("nvr,dnr->dnv", rest, r)
    return -0.5 * ((data - mean) ** 2).sum(-1) - 0.5 * (at**2).sum(-1)


@pytest.mark.parametrize("values", [6, 40])
def test_a_push_and_its_scale_have_the_exact_posterior(values: int) -> None:
    """Of a linear model the density is the joint one but for a constant: where draws fall."""
    torch.manual_seed(1)
    posterior = posterior_of(values)
    drawn = posterior.sample(torch.Size([4000]))
    off = log_joint(values, drawn) - posterior.log_prob(drawn)
    assert (off.std(0) < 0.05).all()
    spread = drawn[..., 0].std(0)
    assert (spread > 0.1).all()
    assert (spread < 1.1).all()


def test_a_move_leaves_the_density_of_a_push_as_it_is() -> None:
    torch.manual_seed(2)
    posterior = posterior_of(20)
    drawn = posterior.sample(torch.Size([20000]))
    moved = posterior.moved(drawn, 0.6)
    assert not torch.equal(moved, drawn)
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert ((moved.mean(0) - drawn.mean(0)).abs() < 5 * error).all()
    torch.testing.assert_close(moved.std(0), drawn.std(0), rtol=0.05, atol=0)
    # What is normal given the scale keeps a share of itself.
    last = torch.corrcoef(torch.stack([moved[:, 0, -1], drawn[:, 0, -1]]))[0, 1]
    assert 0.2 < last < 0.95


class FlatWalk:
    """A normal guide that is too narrow, and stands aside."""

    def __init__(self, n: int, size: int) -> None:
        self.normal = DenseNormal(
            torch.full((n, size), 0.3).double(),
            scale_tril=(0.8 * torch.eye(size).double()).expand(n, size, size),
        )

    def begin(self, draws: int) -> Tensor:
        return self.normal.rsample(torch.Size([draws]))

    def moved(self, point: Tensor, kept: float) -> Tensor:
        return self.normal.moved(point, kept)

    def latents(self, point: Tensor) -> dict[str, Tensor]:
        return {"a": point}

    def log_prob(self, point: Tensor) -> Tensor:
        found: Tensor = self.normal.log_prob(point)
        return found


def standard(latents: Mapping[str, Tensor]) -> Tensor:
    """A standard normal whose mass is e, and which runs away far out."""
    value = latents["a"]
    density = 1 - 0.5 * (value**2 + math.log(2 * math.pi)).sum(-1)
    return density.masked_fill((value.abs() > 6).any(-1), torch.nan)


def test_draws_that_are_carried_on_are_the_posteriors() -> None:
    torch.manual_seed(3)
    walk: Walk = FlatWalk(n=60, size=6)
    chains = Chains.begin(walk, standard, 200)
    plain = smooth(chains.ratio.numpy())[1]
    before = (chains.point.mean((0, 2)) - 0.0).abs().mean()
    chains.anneal()
    weights, k_hat = smooth(chains.log_weight.numpy())
    assert (k_hat > 0.7).mean() < (plain > 0.7).mean()
    evidence = torch.logsumexp(chains.log_weight, 0) - math.log(200)
    assert evidence.mean() == pytest.approx(1.0, abs=0.05)  # unbiased, but for its log
    chains.resample(torch.as_tensor(weights))
    for _ in range(10):
        chains.move()
    assert chains.point.mean((0, 2)).abs().mean() < 0.5 * before
    assert chains.point.std() == pytest.approx(1.0, abs=0.05)
    assert (chains.accepted / chains.moves > 0.3).all()
