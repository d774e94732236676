"""Formulas without a residual: fitted by evidence, under noise that knows its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import groundvae as gv
from groundvae.inference.fit import prepare
from groundvae.models.declared import entry_of
from groundvae.models.recipe import EVIDENCE


class Decay(gv.Function):
    """A formula with nothing beside it."""

    height = gv.Latent(gv.LogNormal(0.0, 0.3))

    def predict(self, z, inputs):  # type: ignore[no-untyped-def]
        return z.height * torch.exp(-inputs.t / inputs.t.max())


class Doses(Decay):
    axes = ("dose",)
    coordinates = {"dose": "dose"}


class Both(Decay):
    axes = ("time", "channel")
    labels = {"channel": ("one", "other")}


@pytest.mark.parametrize(
    ("kind", "noise"), [(Decay, gv.Matern), (Both, gv.Matern), (Doses, gv.Gaussian)]
)
def test_a_formula_alone_is_fitted_by_evidence(kind: type[gv.Function], noise: type) -> None:
    entry = entry_of("alone", kind)
    assert entry.usual == "physics-evidence"
    model, recipe = entry.variant().build(), entry.variant().recipe
    assert (type(model.noise), len(model.residuals), recipe.guide) == (noise, 0, "modes")
    assert recipe is (model.recipe() if noise is gv.Matern else EVIDENCE)
    assert entry_of("two", kind, residual=gv.Network("observation", ())).usual == "hybrid-reg"


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e4])
def test_noise_that_knows_its_neighbours_follows_the_unit_of_time(unit: float) -> None:
    times = unit * np.linspace(0.0, 6.0, 31)
    data = gv.Dataset(np.exp(-times / times.max()) * np.ones((4, 1)), {"t": times})
    lengths = [
        float(prepare(gv.GreyBox(Decay(), (), noise), data).model.noise.length.detach())  # type: ignore[arg-type]
        for noise in (gv.Matern(None), gv.Matern(None, length=2.0))
    ]
    assert lengths == pytest.approx([0.6 * unit, 2.0])
