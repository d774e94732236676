"""A search for modes of angles: on a line that is cut opposite to where it begins."""

from __future__ import annotations

import math

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro import plate, poutine
from torch import Tensor
from torch.distributions import constraints

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.galaxy import simulate
from groundvae.guides.catalogue import build_guide
from groundvae.guides.guide import log_prob_of
from groundvae.guides.modes import ModeGuide
from groundvae.inference.fit import fit
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.models.axial import AxialVonMises
from groundvae.models.function import Function
from groundvae.models.greybox import GreyBox, site_value
from groundvae.models.latent import Latent
from groundvae.models.noises import Gaussian
from groundvae.models.normalscore import CircleScore
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import FitOptions, Recipe
from groundvae.models.values import Values

TURN = 2 * math.pi
TIMES = np.linspace(0, 3, 20)
NOISE = 0.3


class Tone(Function):
    """A sine of unknown size and phase."""

    size = Latent(dist.LogNormal(0.0, 0.5), "1", "size", constraints.positive)
    phase = Latent(dist.Uniform(0.0, TURN), "rad", "phase at t = 0", period=TURN)

    def predict(self, z: Values, inputs: Values) -> Tensor:
        wave: Tensor = z.size * torch.sin(2 * inputs.t + z.phase)
        return wave


def tones(n: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    size, phase = rng.lognormal(0, 0.5, n), rng.uniform(0, TURN, n)
    x = size[:, None] * np.sin(2 * TIMES + phase[:, None])
    x = (x + NOISE * rng.normal(size=x.shape)).astype(np.float32)
    return Dataset(x, {"t": TIMES}, {"size": size, "phase": phase})


def rounds(count: int) -> Recipe:
    return Recipe(guide="modes", options=FitOptions(steps=count))


@pytest.mark.parametrize(
    "prior", [dist.Uniform(0.5, 0.5 + math.pi), AxialVonMises(torch.tensor(0.1), torch.tensor(2.0))]
)
def test_a_score_of_an_angle_is_exact_wherever_the_circle_is_cut(
    prior: dist.TorchDistribution,
) -> None:
    """Standard normal scores of draws of the prior, and no seam but the cut."""
    lower = 0.5 if isinstance(prior, dist.Uniform) else 0.0
    headings = lower + torch.tensor([0.0, 0.3, 1.5, 3.1])
    torch.manual_seed(0)
    angles = prior.sample(torch.Size([4000, 4]))
    score = CircleScore(prior, headings)
    u = score.score(angles)
    assert float(u.mean(0).abs().max()) < 0.06
    assert float((u.std(0) - 1).abs().max()) < 0.06
    back = torch.remainder(score.value(u) - angles + math.pi / 2, math.pi) - math.pi / 2
    assert float(back.abs().max()) < 1e-3
    zero = torch.remainder(score.value(torch.zeros(4)) - headings + 1, math.pi) - 1
    assert float(zero.abs().max()) < 1e-3
    leaf = torch.linspace(-2, 2, 9).view(-1, 1).expand(-1, 4).clone().requires_grad_()
    value = score.value(leaf)
    (slope,) = torch.autograd.grad(value.sum(), leaf)
    near = torch.minimum(value - lower, lower + math.pi - value) < 0.01  # of the prior's own ends
    exact = score.log_slope(leaf, value).exp()
    torch.testing.assert_close(slope[~near], exact[~near], rtol=0.02, atol=0)


def test_intervals_of_a_phase_hold_round_its_circle() -> None:
    """Fitted by evidence; the posterior is as likely to hold the truth at the seam as elsewhere."""
    data = tones(300, 1)
    model = GreyBox(Tone(), (), Gaussian(0.5))
    run = fit(model, tones(60, 2), recipe=rounds(20), seed=0)
    assert float(run.model.noise.scale) == pytest.approx(NOISE, rel=0.1)
    found = posterior(run, data, PosteriorOptions(draws=200, predictive_draws=2))
    assert bool(found["sample_stats"]["log_weight"].notnull().all())
    drawn = found["posterior"]["phase"].values[0]
    assert ((drawn >= 0) & (drawn <= TURN)).all()
    off = (drawn - data.truth["phase"] + math.pi) % TURN - math.pi
    below = (off < 0).mean(0)
    seam = np.minimum(data.truth["phase"], TURN - data.truth["phase"]) < 0.6
    for some in (seam, ~seam):
        held = float((np.abs(below[some] - 0.5) < 0.45).mean())
        assert 0.82 < held < 0.97
    assert np.median(np.abs(off)) < 0.15
    known = run.guide.mode(run.batch(data)).found
    assert float(known.double().mean()) > 0.98


def test_modes_of_galaxies_are_searched_and_draws_scored_as_drawn() -> None:
    batch = Batch.of(simulate(2, 0), dtype=torch.float64)
    torch.manual_seed(0)
    model = find_system("galaxy").build("physics-only").double()
    guide = build_guide("modes", model, 69).double()
    assert isinstance(guide, ModeGuide)
    guide.prepare(batch)
    with plate("draw", 5, dim=-2):
        trace = poutine.trace(guide).get_trace(batch)
    drawn = site_value(trace, "position_angle")
    assert drawn.shape == (5, 2)
    latents = {key: site_value(trace, key)[2] for key in model.latent_names}
    torch.testing.assert_close(
        guide.log_prob(batch, latents), log_prob_of(trace, batch)[2], rtol=1e-6, atol=1e-6
    )
    truth = torch.as_tensor(simulate(2, 0).truth["position_angle"])
    off = torch.remainder(drawn - truth + math.pi / 2, math.pi) - math.pi / 2
    assert float(off.abs().max()) < 0.1


def test_a_shared_angle_is_refused() -> None:
    class Shared(Tone):
        """Tones of one phase."""

        phase = Latent(dist.Uniform(0.0, TURN), "rad", "phase", period=TURN, shared=True)

    model = GreyBox(Shared(), (), Gaussian(0.5))
    with pytest.raises(InputError, match="phase is shared by all observations and lives on"):
        fit(model, tones(8, 2), recipe=rounds(2), seed=0)
