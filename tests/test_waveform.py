"""Smooth maps are draws of the Gaussian process they claim; their prior is part of the loss."""

from __future__ import annotations

import math

import pytest
import torch

from groundvae.data.batch import Batch
from groundvae.data.pendulum import TIMES, simulate
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.run import RunConfig, new_run
from groundvae.models.network import SmoothMap
from groundvae.models.recipe import Recipe
from groundvae.models.residuals import Waveform


def test_random_weights_give_the_process_of_the_stated_length_and_spread() -> None:
    torch.manual_seed(0)
    length, spread = 2.0, 0.5
    smooth = SmoothMap(3, 4000, features=2000, length=length, spread=spread)
    torch.nn.init.zeros_(smooth.linear.weight)
    torch.nn.init.zeros_(smooth.linear.bias)
    with torch.no_grad():
        smooth.weights.normal_()
        at = torch.zeros(3, 3)
        at[1, 0], at[2, 1] = length, 3 * length
        values = smooth(at)
    covariance = values @ values.T / values.shape[1]
    torch.testing.assert_close(
        covariance.diagonal().sqrt(), torch.full((3,), spread), rtol=0.08, atol=0
    )
    assert float(covariance[0, 1]) / spread**2 == pytest.approx(math.exp(-0.5), abs=0.08)
    assert float(covariance[0, 2]) / spread**2 == pytest.approx(math.exp(-4.5), abs=0.08)


def test_a_fresh_map_is_linear() -> None:
    smooth = SmoothMap(2, 3, length=1.0, spread=1.0)
    a, b = torch.randn(5, 2), torch.randn(5, 2)
    middle = 0.5 * (smooth(a) + smooth(b))
    torch.testing.assert_close(smooth(0.5 * (a + b)), middle)


def test_other_times_read_the_same_waveform() -> None:
    waveform = Waveform(auxiliary=2, channels=3, pairs=5, highest=2.0, length=1.0, spread=1.0)
    z, times = torch.randn(4, 2), torch.linspace(0, 1, 11)
    torch.testing.assert_close(waveform.values(z, times)[:, ::2], waveform.values(z, times[::2]))


def test_the_loss_holds_the_prior_of_the_weights_once_for_all_observations() -> None:
    run = new_run(RunConfig("pendulum", len(TIMES), "nn-only", recipe=Recipe()))
    batch = Batch.of(simulate(20, 0))
    run.guide.prepare(batch)
    loss = RegularizedELBO()

    def kl(observations: int) -> float:
        torch.manual_seed(0)
        terms = loss.terms(run.model, run.guide, batch, observations=observations)
        return float(terms["kl"].detach())

    plain = kl(500)
    weights = run.model.terms[0].map.weights
    with torch.no_grad():
        weights[0, :10] = 3.0
    # Weights that size move the decoder, not the KL of the latents.
    assert kl(500) - plain == pytest.approx(0.5 * 10 * 9 / 500, rel=1e-3)
    assert kl(100) - plain == pytest.approx(0.5 * 10 * 9 / 100, rel=1e-3)
