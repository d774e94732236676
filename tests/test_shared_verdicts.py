"""What all share is judged by the prior that was declared, not by what they agreed on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import groundvae as gv
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.contraction import Contraction
from groundvae.inference.fit import prepare
from groundvae.inference.options import PosteriorOptions
from groundvae.inference.posterior import posterior
from groundvae.models.narrowed import Narrowed


class Cooling(gv.Dynamics):
    """A rate that all share."""

    loss = gv.Latent(gv.LogNormal(0.0, 0.5), shared=True)
    start = gv.Latent(gv.Normal(1.0, 0.5))
    states = ("excess",)
    observed = "excess"

    def initial(self, z, inputs):  # type: ignore[no-untyped-def]
        return {"excess": z.start}

    def rate(self, t, state, z, inputs):  # type: ignore[no-untyped-def]
        return {"excess": -z.loss * state.excess}


def test_a_narrowed_prior_does_not_hide_what_the_data_told() -> None:
    times = np.linspace(0.0, 2.0, 21)
    starts = np.random.default_rng(0).normal(1.0, 0.3, (24, 1))
    data = gv.Dataset(starts * np.exp(-times), {"t": times})
    run = prepare(gv.GreyBox(Cooling(), gv.Unknown("excess", sees=())), data)
    wide = float(gv.LogNormal(0.0, 0.5).sample(torch.Size([100_000])).var())
    run.model.with_priors({"loss": Narrowed(gv.LogNormal(0.0, 0.5), 0.0, 0.02)})
    run.guide.latents = run.model.latents
    drawn = posterior(run, data, PosteriorOptions(draws=60, predictive_draws=20))
    context = Context(run, drawn)
    assert context.prior_variance["loss"] == pytest.approx(wide, rel=0.05)
    told = Contraction().compute(context)["contraction"].sel(latent="loss")
    assert float(told.median()) > 0.99
