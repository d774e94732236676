"""Decomposition: what physics alone, each residual, and noise account for, per observation.

Misleads: the order of crediting matters where they overlap, and a large share of physics does not
prove that its latents are right: a residual can imitate part of the physics. Source: Takeishi &
Kalousis (2021), section 3, for the ablations.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import GROUNDED, RESIDUAL, Check, LeftOutError, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.score import explained
from groundvae.diagnostics.style import BAND, CYCLE, PHYSICS

WORDS = {
    "physics": "physics alone",
    "dynamics": "residual in the dynamics",
    "observation": "residual on the observation",
    "residual": "residual",
    "noise": "unexplained",
}


def compute_decomposition(x: np.ndarray, ablations: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Shares of the squared deviation from the mean, (part, observation) and pooled (part,).

    Each of the ablations (observation, *event) is credited with what it explains beyond the one
    before it: physics alone, then the residual in the dynamics, then the one on the observation;
    the rest is unexplained. A share is negative where one is worse than the one before.
    Observations that do not vary have none (NaN).

    >>> x = np.array([[1.0, -1.0]])
    >>> compute_decomposition(x, {"physics": x / 2, "full": x})["pooled"].values.tolist()
    [0.75, 0.25, 0.0]
    """
    last = "observation" if "dynamics" in ablations else "residual"
    names = [last if name == "full" else name for name in ablations] + ["noise"]
    each = [[explained(x[i] - w[i], x[i]) for i in range(len(x))] for w in ablations.values()]
    centred = x - np.nanmean(x.reshape(len(x), -1), axis=1).reshape(-1, *[1] * (x.ndim - 1))
    total = np.nansum(centred**2)
    left = [np.nansum((x - w) ** 2) / total if total > 0 else np.nan for w in ablations.values()]
    variables = {
        "share": (("part", "observation"), _increments(np.array(each))),
        "pooled": ("part", _increments(1 - np.array(left))),
    }
    return xr.Dataset(variables, {"part": names})


def _increments(cumulative: np.ndarray) -> np.ndarray:
    """From explained by ablations (ablation, ...) to added by each, and the rest."""
    steps = np.diff(cumulative, axis=0, prepend=np.zeros_like(cumulative[:1]))
    return np.concatenate([steps, 1 - cumulative[-1:]])


@registered
class Decomposition(Check):
    """Whether physics carries the model."""

    name, title, subject = "decomposition", "Grey box", "share of physics"
    alternative = (
        "Shares of the variance explained by physics alone, by each residual, and by nothing."
    )
    caption = (
        "Each is credited with what it adds to the one before. A large residual is not wrong, but "
        "then the physics latents depend on how the work is shared. Right: each observation, in "
        "the colours of the left; shares beyond -1 and 1.5 lie at these edges."
    )
    needs = (GROUNDED, RESIDUAL)
    good, doubtful = 0.5, 0.0
    sentences = {
        "good": "Physics alone explains most of the data; whether its latents are right, coverage "
        "says.",
        "doubtful": "The residual explains more than physics: the physics latents depend on how "
        "the two share the work, so compare runs with other residuals and penalties.",
        "bad": "Physics alone predicts worse than a constant: its latents serve the residual and "
        "mean nothing by themselves; penalise the residual or restrict what it sees.",
    }
    size, columns = (6.4, 3.4), 2
    metric_words = {
        "share_physics": "share of the variance explained by physics alone",
        "share_dynamics": "share that the residual in the dynamics adds",
        "share_observation": "share that the residual on the observation adds",
        "share_residual": "share that the residual adds",
        "share_noise": "share left unexplained",
    }

    def compute(self, context: Context) -> xr.Dataset:
        ablations = context.ablations()
        if any(each.shape != context.x.shape for each in ablations.values()):
            raise LeftOutError("physics alone and data have different shapes")
        result = compute_decomposition(context.x, ablations)
        if not np.isfinite(result["pooled"]).all():
            raise LeftOutError("the data do not vary, so there is no variance to share out")
        return result

    def observations(self, part: xr.Dataset) -> int:
        return int(np.isfinite(part["share"].isel(part=0)).sum())

    def value(self, part: xr.Dataset) -> float:
        return float(part["pooled"].sel(part="physics"))

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        return {f"share_{p}": float(result["pooled"].sel(part=p)) for p in result["part"].values}

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = [str(n) for n in result["part"].values]
        colors = [PHYSICS, *[c for c in CYCLE if c != PHYSICS]]
        colors = [BAND if n == "noise" else colors[i] for i, n in enumerate(names)]
        n = self.observations(result)
        order = np.argsort(result["share"].sel(part=names[0]).values)[:n]  # NaN comes last
        percent = 100 * (np.arange(n) + 0.5) / max(n, 1)
        left, right = grid[0]
        left.barh([WORDS[k] for k in names], result["pooled"].values, color=colors)
        left.axvline(0, color="0.4", lw=0.8)
        left.invert_yaxis()
        left.set_xlabel("share of the variance")
        for name, color in zip(names, colors, strict=True):
            values = np.clip(result["share"].sel(part=name).values[order], -1, 1.5)
            right.plot(percent, values, ".", ms=2, color=color)
        right.set_xlabel(f"observations, by {WORDS[names[0]]} (%)")
        right.set_ylabel("share of its variance")
        pooled = 100 * float(result["pooled"].isel(part=0))
        return f"{WORDS[names[0]].capitalize()} explains {pooled:.0f} % of the variance"
