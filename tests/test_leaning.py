"""Pushes that lean one way in all observations, and what hangs on it: exact answers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

import groundvae as gv
from groundvae.data.batch import Batch
from groundvae.diagnostics.answers import answer
from groundvae.diagnostics.correlatedeffects import CorrelatedEffects
from groundvae.diagnostics.leaning import CHANCE, OneSided
from groundvae.diagnostics.verdict import Level
from groundvae.guides.follow import parts_of
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.search import Search
from groundvae.inference.leaning import along, leaning
from groundvae.models.normalscore import NormalScore

TIMES = np.linspace(0.0, 4.0, 21)
NOISE, COUNT = 0.2, 40
OTHERS = ("contraction", "discrepancy", "precision")  # without which nothing is good


class Tank(gv.Dynamics):
    """A tank that drains at a known rate: linear in all that is not known."""

    start = gv.Latent(gv.Normal(0.0, 1.0), unit="m", meaning="level at first")
    states = ("level",)
    observed = "level"

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {"level": z.start}

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        return {"level": -0.5 * state.level}


class Together(Tank):
    start = gv.Latent(gv.Normal(0.0, 1.0), unit="m", meaning="level at first", shared=True)


def tanks(kind: type[Tank], mean: float) -> tuple[gv.GreyBox, Search]:
    """Forty tanks whose weights of time are N(mean, 1), searched from where nothing pushes."""
    torch.manual_seed(0)
    model = gv.GreyBox(kind(), gv.Unknown("level", sees=()), gv.Gaussian(NOISE)).double()
    inputs = {"t": torch.as_tensor(TIMES)}
    model.prepare(Batch(torch.zeros(COUNT, len(TIMES), dtype=torch.float64), inputs))
    model.double()
    (part,) = parts_of(model)
    part.residual.blank()
    at = torch.zeros(COUNT, 1 + model.auxiliary, dtype=torch.float64)
    truth = torch.randn_like(at)
    truth[:, part.first] = 0.0  # how strongly each is pushed
    truth[:, part.push] += mean
    x = model.decode({"start": truth[:, 0]}, truth[:, 1:], inputs).full.detach()
    batch = Batch(x + NOISE * torch.randn_like(x), inputs)
    scores = [NormalScore(z.prior) for z in model.latents]
    return model, Search(model, scores, batch, at)


def test_pushes_that_differ_in_sign_do_not_lean() -> None:
    _, search = tanks(Tank, 0.0)
    found = leaning(search, COUNT)
    assert found.chance > 10 * CHANCE


@pytest.mark.parametrize("kind", [Tank, Together])
def test_the_mean_of_a_push_and_what_it_moves_are_those_of_least_squares(kind: type[Tank]) -> None:
    """All tanks in one regression: the mean is a latent more, of standard normal prior."""
    model, search = tanks(kind, 1.0)
    found = leaning(search, COUNT)
    assert found.chance < 1e-9
    (part,) = parts_of(model)
    a = search.jacobian[0].detach().numpy() / NOISE  # the same of all tanks
    x = search.batch.x.numpy() / NOISE
    pushed = part.push.numpy()
    inverse = np.linalg.inv(np.eye(len(TIMES)) + a @ a.T)
    design = a[:, pushed]
    weighted = design.T @ inverse
    told = np.eye(len(pushed)) + COUNT * weighted @ design
    mean = np.linalg.solve(told, (weighted @ x.T).sum(1))
    gain = a[:, 0] @ inverse  # of the start
    shift = -gain @ design @ mean / math.sqrt(1 - gain @ a[:, 0])
    expected = abs(shift) * (COUNT if kind is Together else 1)
    assert found.moves == {"start": pytest.approx(expected, rel=1e-6)}
    assert expected > 0.4


@pytest.mark.parametrize(("moves", "level"), [(0.3, "good"), (1.2, "doubtful"), (2.0, "bad")])
def test_answers_rest_on_it(moves: float, level: Level) -> None:
    values = {"moves": ("latent", [moves])}
    result = xr.Dataset(values, {"latent": ["start"]}, {"observations": COUNT})
    (verdict,) = (replace(v, check="leaning") for v in OneSided().verdicts(result))
    assert verdict.level == level
    assert ("Put it into the law" in verdict.meaning) == (level != "good")
    others = [replace(verdict, check=name, level="good") for name in OTHERS]
    answers = answer([verdict, *others], {})
    assert answers["intervals"].level == level
    assert answers["estimates"].level == {"bad": "doubtful"}.get(level, level)


def related(slope: float, seed: int) -> tuple[LinearGaussian, np.ndarray, np.ndarray]:
    """Linear observations of a level and three weights; the first goes with the level."""
    random = np.random.default_rng(seed)
    truth = random.standard_normal((COUNT, 4))
    truth[:, 1] += slope * truth[:, 0]
    a = random.standard_normal((COUNT, 12, 4))
    y = (a @ truth[..., None])[..., 0] + random.standard_normal((COUNT, 12))
    widths = torch.tensor([30.0, 1.0, 1.0, 1.0], dtype=torch.double)
    now = torch.zeros(COUNT, 4, dtype=torch.double)
    return LinearGaussian(torch.as_tensor(a), torch.as_tensor(y), now, widths), a, y


def test_weights_that_go_with_a_latent_are_those_of_least_squares() -> None:
    """All observations in one regression: the slopes are latents more, of standard normal prior."""
    linear, a, y = related(1.0, 0)
    model = gv.GreyBox(Tank(), (), gv.Gaussian(NOISE))
    level = linear.mean[:, 0].numpy()
    standing = (level - level.mean()) / level.std(ddof=1)
    found = along(linear, model, torch.arange(1, 4), torch.as_tensor(standing), COUNT)
    assert found.chance < CHANCE / 10
    scaled = a * np.array([30.0, 1.0, 1.0, 1.0])
    inverse = np.linalg.inv(np.eye(12) + scaled @ np.swapaxes(scaled, 1, 2))
    design = standing[:, None, None] * a[..., 1:]
    told = np.eye(3) + np.einsum("nvi,nvw,nwj->ij", design, inverse, design)
    slope = np.linalg.solve(told, np.einsum("nvi,nvw,nw->i", design, inverse, y))
    gain = scaled[:, None, :, 0] @ inverse  # of the level
    shift = -(gain @ design @ slope)[:, 0]
    sd = np.sqrt(1 - np.einsum("nv,nv->n", gain[:, 0], scaled[..., 0]))
    expected = np.sqrt(np.mean((shift / sd) ** 2))
    assert found.moves == {"start": pytest.approx(expected, rel=1e-6)}


def test_weights_that_go_with_nothing_are_told_by_chance_alone() -> None:
    model = gv.GreyBox(Tank(), (), gv.Gaussian(NOISE))
    chances = []
    for seed in range(200):
        linear, _, _ = related(0.0, seed)
        level = linear.mean[:, 0]
        standing = (level - level.mean()) / level.std()
        chances.append(along(linear, model, torch.arange(1, 4), standing, COUNT).chance)
    assert np.mean(np.array(chances) < 0.1) == pytest.approx(0.1, abs=0.06)
    assert min(chances) > CHANCE / 10


@pytest.mark.parametrize(("moves", "level"), [(0.3, "good"), (0.5, "doubtful"), (1.0, "bad")])
def test_answers_rest_on_effects_that_are_correlated(moves: float, level: Level) -> None:
    values = {"moves": ("latent", [moves]), "by": ("latent", ["start"])}
    result = xr.Dataset(values, {"latent": ["start"]}, {"observations": COUNT})
    (verdict,) = (
        replace(v, check="correlatedeffects") for v in CorrelatedEffects().verdicts(result)
    )
    assert verdict.level == level
    assert ("Put it into the law" in verdict.meaning) == (level != "good")
    others = [replace(verdict, check=name, level="good") for name in OTHERS]
    answers = answer([verdict, *others], {})
    assert answers["intervals"].level == {"bad": "doubtful"}.get(level, level)
