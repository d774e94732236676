"""More room where k-hat doubts a guide: that alone is drawn again, in every world alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from groundvae.data.dataset import Dataset
from groundvae.guides.modes import ModeGuide
from groundvae.inference import arviz as az
from groundvae.inference.block import Groups
from groundvae.inference.fit import fit
from groundvae.inference.importance import smooth
from groundvae.inference.options import PosteriorOptions
from groundvae.inference.posterior import posterior
from groundvae.inference.room import ENOUGH, TRUSTED, WEIGHED, make_room
from groundvae.models.dynamics import Dynamics, Rate
from groundvae.models.greybox import GreyBox
from groundvae.models.intervention import Change
from groundvae.models.latent import Latent
from groundvae.models.noises.gaussian import Gaussian
from groundvae.models.recipe import EVIDENCE, FitOptions
from groundvae.models.residuals import Unknown
from groundvae.models.values import Values

DRAWS, TAIL = 200, 1.4  # the target's standard deviation where its tail is too long


def drawn(scale: Tensor) -> Groups:
    """Normal draws of some observations, of which every other has a wider posterior."""
    x = scale * torch.randn(DRAWS, len(scale))
    target = torch.where(torch.arange(len(scale)) % 2 == 0, 1.0, TAIL)
    weight = dist.Normal(0.0, target).log_prob(x) - dist.Normal(0.0, scale).log_prob(x)
    return {"posterior": {"a": x}, WEIGHED: {"log_weight": weight}}


def test_a_handful_of_draws_doubts_nothing() -> None:
    """Their k-hat is large by chance: intervals were wider the fewer were decoded."""

    def refuse(rows: Tensor, room: float) -> Groups:
        raise AssertionError(f"{len(rows)} observations are drawn again, in a room of {room}")

    torch.manual_seed(0)
    groups = drawn(torch.full((40,), 0.3))
    few = {group: {k: v[: ENOUGH - 1] for k, v in found.items()} for group, found in groups.items()}
    kept = few["posterior"]["a"].clone()
    make_room((1.3, 1.5), few, refuse, 0)
    assert torch.equal(few["posterior"]["a"], kept)
    assert WEIGHED not in few
    with pytest.raises(AssertionError, match="drawn again"):
        make_room((1.3, 1.5), groups, refuse, 0)


def test_only_what_is_doubted_is_drawn_again() -> None:
    torch.manual_seed(0)
    asked = []

    def again(rows: Tensor, room: float) -> Groups:
        asked.append((rows, room))
        found = drawn(torch.full((len(rows),), 0.3 * room))
        wide = dist.Normal(0.0, TAIL).log_prob(found["posterior"]["a"])
        own = dist.Normal(0.0, 0.3 * room).log_prob(found["posterior"]["a"])
        return found | {WEIGHED: {"log_weight": wide - own}}

    groups = drawn(torch.tensor([1.0, 0.3, 1.0, 0.3]))
    before = groups["posterior"]["a"].clone()
    state = torch.get_rng_state()
    make_room((1.1, 5.0), groups, again, 7)
    after = groups["posterior"]["a"]
    assert [room for _, room in asked] == [1.1, 5.0]
    assert all(rows.tolist() == [1, 3] for rows, _ in asked)
    assert torch.equal(after[:, ::2], before[:, ::2])
    assert after[:, 1::2].std() > 2 * before[:, 1::2].std()
    assert WEIGHED not in groups
    assert torch.equal(torch.get_rng_state(), state)


class Decay(Dynamics):
    """What decays, at a rate that few samples hardly tell: its posterior has a long tail."""

    rate_of = Latent(dist.LogNormal(0.0, 0.6), "1/s", "of decay", name="k")
    states = ("amount",)
    observed = "amount"

    def initial(self, z: Values, inputs: Values) -> Rate:
        return {"amount": 1.0}

    def rate(self, t: Tensor, state: Values, z: Values, inputs: Values) -> Rate:
        return {"amount": -z.k * state.amount}


def decays(n: int, seed: int) -> Dataset:
    random = np.random.default_rng(seed)
    rates, times = np.exp(0.6 * random.standard_normal(n)), np.linspace(0, 1.5, 12)
    push = 0.3 * random.standard_normal(n)
    law = lambda t, y: -rates * y + push * np.sin(4 * t)  # noqa: E731
    x = solve_ivp(law, (0, 1.5), np.ones(n), t_eval=times).y
    return Dataset(x + 0.1 * random.standard_normal(x.shape), {"t": times}, {"k": rates})


def test_weights_are_better_and_every_world_has_the_same_draws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = replace(EVIDENCE, options=FitOptions(steps=8))
    model = GreyBox(Decay(), Unknown("amount", degree=0), Gaussian(0.1))
    run = fit(model, decays(40, 1), valid=decays(20, 2), recipe=recipe, seed=0)
    data, options = decays(60, 3), PosteriorOptions(draws=120, predictive_draws=DRAWS // 2)
    here = posterior(run, data, options)
    changed = posterior(run, data, options, changes={"k": Change(factor=0.9)})
    assert np.array_equal(here["posterior"]["z_aux"], changed["posterior"]["z_aux"])
    monkeypatch.setattr(ModeGuide, "rooms", ())
    plain = posterior(run, data, options)
    with_room, without = (k_hats(drawn) for drawn in (here, plain))
    assert (with_room > TRUSTED).sum() < 0.5 * (without > TRUSTED).sum()
    same = without <= TRUSTED
    assert np.array_equal(here["posterior"]["k"][..., same], plain["posterior"]["k"][..., same])


def k_hats(drawn: az.InferenceData) -> np.ndarray:
    """Of the weights of each observation's draws."""
    return smooth(drawn["sample_stats"]["log_weight"].values[0])[1]
