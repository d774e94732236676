"""Simulation-based calibration: is the guide right about the model's own simulations?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pyro
import torch
import xarray as xr
from matplotlib.figure import Figure
from pyro import poutine

from groundvae.data.batch import Batch
from groundvae.diagnostics.latents import is_auxiliary, scalar_latents
from groundvae.diagnostics.score import placement, unwrap
from groundvae.diagnostics.style import CYCLE, OTHER, headline, house_style
from groundvae.diagnostics.uniformity import (
    FEWEST,
    SMALL,
    SURE,
    compute_uniformity,
    departure,
    draw_band,
    draw_line,
    uniform_level,
)
from groundvae.diagnostics.verdict import Verdict, too_few, worded
from groundvae.guides.guide import Guide
from groundvae.guides.population import population_of
from groundvae.inference.simulation import simulate
from groundvae.models.greybox import GreyBox, site_value

UNINFORMED = 0.1  # contraction below which calibration means nothing
KEYS = ("deviation", "outside", "mean", "spread", "limit")  # of each latent
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
    *,
    simulations: int = 1000,
    draws: int = 100,
    periods: Mapping[str, float] | None = None,
    seed: int = 0,
) -> SelfTest:
    """Draw latents from the prior, simulate the fitted hybrid, and ask the guide back."""
    periods = periods or {}
    with torch.no_grad(), torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(seed)
        simulation = simulate(model, like, simulations, population_of(guide))
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


def compute_calibration(test: SelfTest, prior_variance: Mapping[str, float]) -> xr.Dataset:
    """For each latent the ECDF of its ranks with the band, and the contraction.

    Source: Talts, Betancourt, Simpson, Vehtari & Gelman (2018). A guide that returns the prior
    passes, so contraction always stands beside the ranks.
    """
    names = list(test.draws)
    parts = []
    for name in names:
        part = compute_uniformity(placement(test.draws[name], test.truths[name]))
        part["contraction"] = (
            "observation",
            1 - test.draws[name].var(axis=0) / prior_variance[name],
        )
        for key in KEYS:
            part[key] = part.attrs[key]
        parts.append(part)
    attrs = {k: parts[0].attrs[k] for k in ("observations", "widest")}
    joined = xr.concat(parts, xr.Variable("latent", names), combine_attrs="drop", data_vars="all")
    return joined.assign_coords(latent=names).assign_attrs(attrs)


def one_latent(result: xr.Dataset, name: str) -> xr.Dataset:
    """The uniformity result of one latent."""
    part = result.sel(latent=name)
    return part.assign_attrs({k: part[k].item() for k in KEYS})


def check_calibration(result: xr.Dataset) -> list[Verdict]:
    """One verdict for each physics latent, and one for all of ``z_aux``."""
    names = [str(n) for n in result["latent"].values]
    verdicts = [_check_one(one_latent(result, n), n) for n in names if not is_auxiliary(n)]
    auxiliary = [n for n in names if is_auxiliary(n)]
    if not auxiliary:
        return verdicts
    worst = max(auxiliary, key=lambda n: float(result["deviation"].sel(latent=n)))
    part = one_latent(result, worst)
    # The worst of several: the band's width grows like that of Dvoretzky, Kiefer & Wolfowitz.
    wider = np.sqrt(1 + np.log(len(auxiliary)) / np.log(2 / (1 - SURE)))
    limit = max(SMALL, float(result.attrs["widest"] * wider))
    part.attrs |= {"limit": limit, "outside": int(part.attrs["deviation"] > limit)}
    return [*verdicts, _check_one(part, worst)]


def _check_one(part: xr.Dataset, latent: str) -> Verdict:
    n, value = part.attrs["observations"], part.attrs["deviation"]
    name = f"self-calibration of {latent}"
    if n < FEWEST:
        return too_few(name, n, FEWEST, part.attrs["limit"])
    level = uniform_level(part)
    informed = float(part["contraction"].median()) > UNINFORMED
    if level == "good" and not informed and not is_auxiliary(latent):
        meaning = (
            "It passes only because the guide returns the prior, which is no evidence of "
            "calibration: train longer, or take a richer guide or data that tell more."
        )
        return Verdict(name, "doubtful", meaning, value, part.attrs["limit"], n)
    how = departure(part)
    meaning = worded(
        level,
        good="Where the fitted model is right, the guide is right about it.",
        bad=f"Even for the model's own simulations the guide is {how}: train longer, with the "
        "hybrid_simulation penalty, or take a richer guide.",
    )
    return Verdict(name, level, meaning, value, part.attrs["limit"], n)


def plot_calibration(result: xr.Dataset) -> Figure:
    """ECDF difference of the ranks of each latent, beside its contraction."""
    names = [str(n) for n in result["latent"].values]
    worst = names[int(result["deviation"].values.argmax())]
    with house_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.4), width_ratios=(3, 2))
        colors = [OTHER if is_auxiliary(n) else CYCLE[i % len(CYCLE)] for i, n in enumerate(names)]
        draw_band(left, one_latent(result, names[0]))
        for color, name in zip(colors, names, strict=True):
            first = not is_auxiliary(name) or name.endswith("[0]")
            draw_line(left, one_latent(result, name), color, name.split("[")[0] * first)
        left.set_xlabel("rank of the simulated latent")
        left.set_ylabel("ECDF - uniform")
        median = result["contraction"].median("observation").values
        right.barh(names, np.clip(median, -0.5, 1), color=colors)
        right.invert_yaxis()
        right.set_xlim(min(0.0, float(median.min())), 1)
        right.set_xlabel("contraction (0: the prior)")
        headline(
            figure,
            f"{result.attrs['observations']} simulations of the model itself: {worst} departs "
            f"most ({float(result['deviation'].max()):.2f})\n"
            "(grey: 99.9 % of calibrated guides)",
        )
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
