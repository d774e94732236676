"""Observations: one verdict for each, out of all that is known of it, in one pass.

What each column says: ``k_hat`` and ``effective_share`` of the importance weights (those of the
whole way, of draws that were carried on to the model's posterior, ``annealed``), ``misfit`` and
``structure`` of the residual (standard deviations from what its posterior predicts), both in one
(``errors``), ``surprise``,
``feature_distance`` and ``out_of_distribution``, ``modes`` of the draws and the mass of the
largest, what the guide itself says (``mode_found``, ``log_evidence``), and the share of the
information on each physics latent that the unknown part takes (``information_taken_*``). Misleads:
a good verdict says that nothing strange was seen in one observation, not that the model is right:
what is wrong with all of them alike shows in none. Sources: Vehtari et al. (2024) for k-hat,
Gelman, Meng & Stern (1996) for the residual.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter1d

from groundvae.diagnostics.check import DRAWS, PREDICTIVE, SAME_SHAPE, Check, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.pvalue import replicated
from groundvae.diagnostics.reconstruction import draw_observations, most_drawn, reconstructed
from groundvae.diagnostics.style import house_style
from groundvae.diagnostics.verdict import Level
from groundvae.diagnostics.weights import importance
from groundvae.inference.importance import ANNEALED
from groundvae.inference.observed import NAME
from groundvae.inference.prediction import RESIDUALS

FAR = 4.0
"""Standard deviations that a residual's misfit and structure may be off, together."""
SMOOTH, BINS, PEAK = 2.5, 40, 0.1
"""Of a histogram of draws: its smoothing (bins), its bins, and the least height of a mode."""
KNOWN = (
    NAME,
    "surprise",
    "feature_distance",
    "out_of_distribution",
    "unusable",
    "runaway_draws",
    ANNEALED,
)
KNOWN_BY_GUIDE = ("mode_found", "log_evidence", "information_taken")


@dataclass(frozen=True)
class Rule:
    """When an observation is bad or doubtful: a column, what of it, and in which words."""

    column: str
    holds: Callable[[np.ndarray], np.ndarray]
    level: Level
    why: str


RULES = (
    Rule("unusable", lambda v: v, "bad", "has no posterior: it got the prior"),
    Rule("mode_found", lambda v: ~v, "bad", "no mode was found that follows its data"),
    Rule("misfit", lambda v: v > FAR, "bad", "its errors are larger than the model's noise"),
    Rule("structure", lambda v: v > FAR, "bad", "a pattern is left in its errors"),
    Rule("errors", lambda v: v > FAR, "bad", "its errors are larger, and smoother, than noise"),
    Rule("out_of_distribution", lambda v: v, "doubtful", "unlike the data that the run knows"),
    Rule("runaway_draws", lambda v: v > 0, "doubtful", "some of its draws ran away"),
    Rule("k_hat", lambda v: v > 0.7, "doubtful", "the guide's draws are not the model's posterior"),
    Rule("modes", lambda v: v > 1, "doubtful", "its posterior has several modes"),
)
"""The first that holds decides."""


def observe(context: Context) -> xr.Dataset:
    """Everything known of each observation, its ``verdict`` and ``reason``, (observation,)."""
    data = context.inference_data
    constant = data["constant_data"] if "constant_data" in data else xr.Dataset()
    known = [
        k for k in constant if str(k) in KNOWN or any(str(k).startswith(g) for g in KNOWN_BY_GUIDE)
    ]
    columns = {str(k): np.asarray(constant[k].values) for k in known}
    if context.weighted and context.log_weight.sizes["draw"] >= DRAWS:
        found = context.once(importance)
        columns |= {"k_hat": found["khat"].values, "effective_share": found["ess"].values}
    if RESIDUALS in data:
        off = context.once(replicated)["off"]
        columns |= {str(n): off.sel(statistic=n).values for n in off["statistic"].values}
        columns["errors"] = np.linalg.norm(off.clip(min=0).transpose("statistic", ...), axis=0)
    columns |= count_modes({k: v for k, v in context.draws.items() if k in context.latents.names})
    verdict, reason = judge(columns, len(context.x))
    columns |= {"verdict": verdict, "reason": reason}
    order = np.arange(len(context.x))
    at = data["posterior"]["observation"].values if "posterior" in data.groups() else order
    variables = {k: ("observation", v) for k, v in columns.items()}
    return xr.Dataset(variables, {"observation": at})


def judge(columns: Mapping[str, np.ndarray], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Verdict and reason of each of ``n`` observations.

    >>> judge({"misfit": np.array([0.1, 30.0])}, 2)[0].tolist()
    ['good', 'bad']
    """
    verdict, reason = np.full(n, "good", dtype=object), np.full(n, "", dtype=object)
    for rule in reversed(RULES):  # the first is written last
        if rule.column in columns:
            values = columns[rule.column]
            holds = rule.holds(values.astype(bool) if values.dtype == object else values)
            verdict[holds], reason[holds] = rule.level, rule.why
    return verdict.astype(str), reason.astype(str)


def count_modes(draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Number of modes of the physics latents (the most of any), and the largest one's mass.

    Of smoothed histograms of draws (draw, observation); a mode is a tenth as high as the highest
    at least, with a valley before the next.

    >>> two = np.repeat([0.0, 1.0], 50) + np.linspace(0, 0.1, 100)
    >>> count_modes({"a": two[:, None]})["modes"].tolist()
    [2]
    """
    most: np.ndarray | None = None
    for values in draws.values():
        if len(values) < 2 * DRAWS:
            return {}
        found = np.array([_modes(column) for column in values.T])
        most = found if most is None else np.where(found[:, :1] > most[:, :1], found, most)
    return {} if most is None else {"modes": most[:, 0].astype(int), "largest_mode": most[:, 1]}


def _modes(values: np.ndarray) -> tuple[float, float]:
    """Modes of draws (draw,), and the mass of the largest."""
    low, high = values.min(), values.max()
    if not np.isfinite(high - low) or high <= low:
        return 1.0, 1.0
    counts, _ = np.histogram(values, BINS, (low, high))
    height = gaussian_filter1d(counts.astype(float), SMOOTH, mode="constant")
    inner = np.diff(np.sign(np.diff(height, prepend=-1.0, append=-1.0)))
    peaks = np.flatnonzero(inner < 0)
    kept: list[int] = []
    for peak in peaks[height[peaks] >= PEAK * height.max()]:
        valley = height[kept[-1] : peak].min() if kept else 0.0
        if not kept or valley < 0.5 * min(height[kept[-1]], height[peak]):
            kept.append(int(peak))
        elif height[peak] > height[kept[-1]]:
            kept[-1] = int(peak)
    cuts = [a + int(height[a:b].argmin()) for a, b in pairwise(kept)]
    masses = [part.sum() for part in np.split(counts, cuts)]
    return float(len(kept)), float(max(masses) / counts.sum())


def as_table(found: xr.Dataset, estimates: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """One row an observation, the worst first; ``estimates`` (observation,) beside its verdict."""
    table = found.to_dataframe().assign(**estimates)
    front = [c for c in (NAME, "verdict", "reason", *estimates) if c in table]
    order = worst(found, found.sizes["observation"])
    return table[front + [c for c in table if c not in front]].iloc[order]


def worst(found: xr.Dataset, count: int) -> np.ndarray:
    """Positions of the worst observations, bad ones first, then the largest misfit."""
    rank = np.select([found["verdict"] == "bad", found["verdict"] == "doubtful"], [0, 1], 2)
    misfit = found["misfit"].values if "misfit" in found else np.zeros(len(rank))
    return np.lexsort((-np.nan_to_num(misfit), rank))[:count]


@registered
class Observations(Check):
    """Whether single observations have a verdict of their own that is bad."""

    name, title, subject = "observations", "Every observation", "single observations"
    alternative = "The observations with the worst verdicts, and those that were named."
    caption = (
        "Those named by `--show`, then the worst; why is in the table. Leave bad ones out, or look "
        "at them one by one."
    )
    needs = (PREDICTIVE, SAME_SHAPE)
    always = True
    good, doubtful = 0.03, 0.06  # share of the observations that are bad
    measured = "share"
    sentences = {
        "good": "Of all observations {percent:.1f} % are bad; the table names them.",
        "bad": "Of all observations {percent:.0f} % are bad, most of them for this: {why}. "
        "Leave them out, the table names them; if they are too many for that, the model is wrong.",
    }
    metric_words = {"bad_observations": "share of observations whose own verdict is bad"}

    def compute(self, context: Context) -> xr.Dataset:
        found = context.once(observe).drop_vars("observation")
        share = float((found["verdict"] == "bad").mean())
        drawn = context.once(reconstructed)
        show = [i for i in context.show if i < len(context.x)]
        attrs = {"share": share, "bad_observations": share, "show": show}
        return found.merge(drawn.drop_vars("observation", errors="ignore")).assign_attrs(
            drawn.attrs | attrs
        )

    def words(self, part: xr.Dataset) -> dict[str, object]:
        bad = part["reason"].values[part["verdict"].values == "bad"]
        names, counts = np.unique(bad, return_counts=True)
        return {"why": names[counts.argmax()] if len(names) else ""}

    @house_style()
    def plot(self, result: xr.Dataset) -> Figure:
        """Thumbnails."""
        count = most_drawn(result)
        picks = list(dict.fromkeys([*result.attrs["show"], *worst(result, count).tolist()]))
        named = ", and those named" if result.attrs["show"] else ""
        return draw_observations(
            result, picks[: max(count, len(result.attrs["show"]))], f"The worst observations{named}"
        )
