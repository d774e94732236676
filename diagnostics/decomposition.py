"""Decomposition: what physics alone, each residual, and noise account for, per observation."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.diagnostics.score import explained
from groundvae.diagnostics.style import BAND, CYCLE, PHYSICS, headline, house_style
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded
from groundvae.models.greybox import AUXILIARY, GreyBox
from groundvae.models.system import Decoded

DRAWS = 20
CHUNK = 100  # observations decoded at once
GOOD, DOUBTFUL = 0.5, 0.0
WORDS = {
    "physics": "physics alone",
    "dynamics": "residual in the dynamics",
    "observation": "residual on the observation",
    "residual": "residual",
    "noise": "unexplained",
}


def decode_ablations(model: GreyBox, batch: Batch, posterior: xr.Dataset) -> dict[str, np.ndarray]:
    """Posterior means (observation, *event) of physics alone, of the worlds between, and of all.

    Keys, from the least to the most: ``physics``, ``dynamics`` where there are two residuals,
    ``full``. ``posterior`` holds the draws of each latent.
    """
    draws = {
        str(k): torch.as_tensor(np.concatenate(v.values)[:DRAWS])
        for k, v in posterior.items()
        if "observation" in v.dims  # hyperparameters are not decoded
    }
    device = batch.x.device
    chunks = []
    with torch.no_grad():
        for i in range(0, len(batch), CHUNK):
            part = {k: v[:, i : i + CHUNK].to(device) for k, v in draws.items()}
            auxiliary = part.pop(AUXILIARY, None)
            inputs = batch[i : i + CHUNK].inputs
            chunks.append(_worlds(model.system.decode(part, auxiliary, inputs)))
    return {k: np.concatenate([c[k] for c in chunks]) for k in chunks[0]}


def _worlds(decoded: Decoded) -> dict[str, np.ndarray]:
    worlds: dict[str, Tensor] = {}
    if decoded.physics is not None:
        worlds["physics"] = decoded.physics
        if {"dynamics", "observation"} <= set(decoded.partial):
            worlds["dynamics"] = decoded.partial["dynamics"]
    return {k: v.mean(0).cpu().numpy() for k, v in (worlds | {"full": decoded.full}).items()}


def compute_decomposition(x: np.ndarray, worlds: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Shares of the squared deviation from the mean, (part, observation) and pooled (part,).

    Each world is credited with what it explains beyond the one before it: physics alone, then
    the residual in the dynamics, then the one on the observation; the rest is unexplained. A
    share is negative where a world is worse than the one before. Observations that do not vary
    have none (NaN).

    >>> x = np.array([[1.0, -1.0]])
    >>> compute_decomposition(x, {"physics": x / 2, "full": x})["pooled"].values.tolist()
    [0.75, 0.25, 0.0]
    """
    names = _parts(worlds)
    each = [[explained(x[i] - w[i], x[i]) for i in range(len(x))] for w in worlds.values()]
    centred = x - np.nanmean(x.reshape(len(x), -1), axis=1).reshape(-1, *[1] * (x.ndim - 1))
    total = np.nansum(centred**2)
    left = [np.nansum((x - w) ** 2) / total if total > 0 else np.nan for w in worlds.values()]
    variables = {
        "share": (("part", "observation"), _increments(np.array(each))),
        "pooled": ("part", _increments(1 - np.array(left))),
    }
    return xr.Dataset(variables, {"part": names})


def _parts(worlds: Mapping[str, np.ndarray]) -> list[str]:
    last = "observation" if "dynamics" in worlds else "residual"
    return [last if name == "full" else name for name in worlds] + ["noise"]


def _increments(cumulative: np.ndarray) -> np.ndarray:
    """From explained by worlds (world, ...) to added by each, and the rest."""
    steps = np.diff(cumulative, axis=0, prepend=np.zeros_like(cumulative[:1]))
    return np.concatenate([steps, 1 - cumulative[-1:]])


def check_decomposition(result: xr.Dataset) -> Verdict:
    """Whether physics carries the model."""
    n = int(np.isfinite(result["share"].isel(part=0)).sum())
    name = "share of physics"
    if n < FEWEST:
        return too_few(name, n, FEWEST, GOOD)
    value = float(result["pooled"].sel(part="physics"))
    level = grade(value, GOOD, DOUBTFUL)
    meaning = worded(
        level,
        good="Physics alone explains most of the data; whether its latents are right, coverage "
        "says.",
        doubtful="The residual explains more than physics: the physics latents depend on how "
        "the two share the work, so compare runs with other residuals and penalties.",
        bad="Physics alone predicts worse than a constant: its latents serve the residual and "
        "mean nothing by themselves; penalise the residual or restrict what it sees.",
    )
    return Verdict(name, level, meaning, value, GOOD, n)


def plot_decomposition(result: xr.Dataset) -> Figure:
    """Pooled shares, and those of each observation sorted by the share of physics."""
    names = [str(n) for n in result["part"].values]
    colors = [PHYSICS, *[c for c in CYCLE if c != PHYSICS]]
    colors = [BAND if n == "noise" else colors[i] for i, n in enumerate(names)]
    share = result["share"].sel(part=names[0]).values
    n = int(np.isfinite(share).sum())
    order = np.argsort(share)[:n]  # those without a share come last
    percent = 100 * (np.arange(n) + 0.5) / max(n, 1)
    with house_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.4))
        left.barh([WORDS[k] for k in names], result["pooled"].values, color=colors)
        left.axvline(0, color="0.4", lw=0.8)
        left.invert_yaxis()
        left.set_xlabel("share of the variance")
        for name, color in zip(names, colors, strict=True):
            values = np.clip(result["share"].sel(part=name).values[order], -1, 1.5)
            right.plot(percent, values, ".", ms=2, color=color)
        right.set_xlabel(f"observations by the share of {WORDS[names[0]]} (%)")
        right.set_ylabel("share of its variance")
        pooled = 100 * float(result["pooled"].isel(part=0))
        headline(figure, f"{WORDS[names[0]].capitalize()} explains {pooled:.0f} % of the variance")
    return figure
