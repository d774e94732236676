"""The self-test: the guide asked about data that the fitted model itself simulated.

What simulation-based calibration and TARP look at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyro
import torch
import xarray as xr
from pyro import poutine

from groundvae.data.batch import Batch
from groundvae.diagnostics.latents import scalar_latents
from groundvae.diagnostics.score import unwrap
from groundvae.guides.guide import Guide
from groundvae.guides.simulation import simulate
from groundvae.models.greybox import GreyBox, site_value

CHUNK = 200  # simulations whose draws are held at once


@dataclass(frozen=True)
class SelfTest:
    """Latents that were simulated (observation,) and the guide's draws (draw, observation)."""

    truths: Mapping[str, np.ndarray]
    draws: Mapping[str, np.ndarray]


def simulate_posterior(
    model: GreyBox,
    guide: Guide,
    like: Batch,
    simulations: int = 1000,
    periods: Mapping[str, float] | None = None,
    *,
    draws: int = 100,
    seed: int = 0,
) -> SelfTest:
    """Draw latents from the prior, simulate the fitted hybrid, and ask the guide back."""
    periods = periods or {}
    with torch.no_grad(), torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(seed)
        simulation = simulate(model, like, simulations, guide.population)
        chunks = [
            _ask(model, guide, simulation.full[i : i + CHUNK], draws)
            for i in range(0, simulations, CHUNK)
        ]
    asked = {k: np.concatenate([c[k] for c in chunks], axis=1) for k in chunks[0]}
    truths = {k: v.cpu().numpy()[None] for k, v in simulation.latents.items()}
    plain = {k: v[0] for k, v in scalar_latents(_posterior(truths)).items()}
    flat = scalar_latents(_posterior(asked))
    both = {k: unwrap(flat[k], plain[k], periods.get(k)) for k in flat}
    return SelfTest({k: t for k, (_, t) in both.items()}, {k: d for k, (d, _) in both.items()})


def _ask(model: GreyBox, guide: Guide, batch: Batch, draws: int) -> dict[str, np.ndarray]:
    with pyro.plate("draw", draws, dim=-2):
        trace = poutine.trace(guide).get_trace(batch)
    return {name: site_value(trace, name).cpu().numpy() for name in model.latent_names}


def _posterior(arrays: Mapping[str, np.ndarray]) -> xr.Dataset:
    dims = ("chain", "draw", "observation")
    variables = {
        k: xr.Variable((*dims, *(f"{k}_dim{i}" for i in range(v.ndim - 2))), v[None])
        for k, v in arrays.items()
    }
    return xr.Dataset(variables)
