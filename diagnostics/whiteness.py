"""Whiteness: what the noise leaves of the residual has nothing in it that neighbours share.

Of a draw of the posterior, the whitened residual ``W (x - mean)`` is standard normal if the model
is right, whatever its noise. White noise counts samples as independent; where neighbours share what
the model misses, samples are worth less, and intervals are too narrow. Misleads: a residual can be
white on the whole and not where it matters (in the middle of an image, at the turn of a swing).
Sources: Box & Jenkins (1970), chapter 8; Bartlett (1946) for what samples are worth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from scipy.stats import norm
from torch import Tensor

from groundvae.diagnostics.check import Check, Condition, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import FULL, PHYSICS
from groundvae.models.greybox import AUXILIARY
from groundvae.models.noises.dependent import Dependent
from groundvae.models.noises.noise import Noise

LAGS = 16  # samples apart, at most
LITTLE = 0.05  # correlation below which neighbours count as strangers


def compute_whiteness(white: np.ndarray, axes: Sequence[str], ordered: Sequence[str]) -> xr.Dataset:
    """Correlations of whitened residuals (observation, *axes); NaN where missing.

    ``autocorrelation`` (axis, lag) along the ``ordered`` axes; ``power`` (axis, frequency), the
    spectrum along them, 1 where white; ``between`` (channel, other) along the last axis where that
    is not ordered; ``neighbour`` (observation,), the largest of an observation's correlations at a
    lag of 1. ``worth``: the share of samples that as much information would be in, were they
    independent.
    """
    off = white - np.nanmean(white)
    rows = []
    for axis in ordered:
        lags = min(LAGS, white.shape[1 + axes.index(axis)] - 1)
        found = np.full(LAGS + 1, np.nan)
        found[: lags + 1] = [
            _product(off, 1 + axes.index(axis), lag).mean() for lag in range(lags + 1)
        ]
        rows.append(found / found[0])
    correlation = np.stack(rows)
    each = np.stack([_product(off, 1 + axes.index(axis), 1) for axis in ordered])
    each = each / np.maximum(_product(off, 1, 0), 1e-30)
    worth = float(np.prod([_worth(row[1:]) for row in correlation]))
    variables = {
        "autocorrelation": (("axis", "lag"), correlation),
        "power": (("axis", "frequency"), np.stack([_spectrum(row) for row in correlation])),
        "neighbour": ("observation", each[np.abs(each).argmax(0), np.arange(each.shape[1])]),
    }
    attrs = {"worth": worth}
    if axes[-1] not in ordered:
        between = _between(off)
        variables["between"] = (("channel", "other"), between)
        worth = worth / max(1.0, float(np.abs(between).sum(1).mean()))
        attrs["worth"] = worth
    coords = {"axis": list(ordered), "lag": np.arange(LAGS + 1), "frequency": _FREQUENCIES}
    return xr.Dataset(variables, coords, attrs | {"narrow": worth**-0.5})


_FREQUENCIES = np.linspace(0, 0.5, 33)


def _product(off: np.ndarray, axis: int, lag: int) -> np.ndarray:
    """Mean product of samples ``lag`` apart, (observation,)."""
    size = off.shape[axis]
    one, other = (np.take(off, range(*ends), axis) for ends in ((0, size - lag), (lag, size)))
    pairs = (one * other).reshape(len(off), -1)
    count = np.isfinite(pairs).sum(1)  # of short series with gaps there may be none
    return np.where(count > 0, np.nansum(pairs, 1) / np.maximum(count, 1), 0.0)


def _worth(correlation: np.ndarray) -> float:
    """Of the samples along one axis; correlations count until they first vanish (Geyer 1992)."""
    small = ~(correlation > LITTLE)
    until = int(small.argmax()) if small.any() else len(correlation)
    return float(1 / (1 + 2 * correlation[:until].sum()))


def _spectrum(correlation: np.ndarray) -> np.ndarray:
    """Power at ``_FREQUENCIES``, from correlations under a triangular window."""
    lags = np.flatnonzero(np.isfinite(correlation))[1:]
    window = 1 - lags / (lags[-1] + 1)
    waves = np.cos(2 * math.pi * _FREQUENCIES[:, None] * lags)
    return np.asarray(1 + 2 * waves @ (window * correlation[lags]))


def _between(off: np.ndarray) -> np.ndarray:
    channels = off.reshape(-1, off.shape[-1])
    channels = channels[np.isfinite(channels).all(1)]
    return np.corrcoef(channels.T)


def advised(axes: Sequence[str], ordered: Sequence[str], channels: int) -> str:
    """The noise to take, as it is written in Python."""
    count = channels if axes[-1] not in ordered else None
    if len(ordered) == 2 and axes[: len(ordered)] == tuple(ordered):
        return f"gv.Correlated({count})"
    return f"gv.Matern({count})" if len(ordered) == 1 else "a noise of your own along its axes"


def white_floor(x: np.ndarray, axis: int) -> float:
    """The most that white noise in data (observation, *axes) can have: a standard deviation.

    Half of all third differences along an axis are smaller than those of such noise would be; what
    is smooth over four samples does not enter.
    Source: Rice (1984), Bandwidth choice for nonparametric regression.

    >>> round(white_floor(np.random.default_rng(0).normal(0, 2.0, (50, 200)), 1), 1)
    2.0
    """
    differences = np.abs(np.diff(x, 3, axis))
    return float(np.nanmedian(differences) / (norm.ppf(0.75) * math.sqrt(20)))


@torch.no_grad()
def whitened(context: Context) -> np.ndarray:
    """Whitened residuals (observation, *event) of one draw of each posterior; NaN where missing."""
    run, batch = context.run, context.batch
    drawn = {name: value[0] for name, value in context.drawn(1).items()}
    auxiliary = drawn.pop(AUXILIARY, None)
    mean = run.model.decode(drawn, auxiliary, batch.inputs, reduced=False).full
    noise: Noise = run.model.noise.given(batch)
    found: Tensor = noise.whitened(batch.x, mean, batch.observed, times=batch.inputs.get("t"))
    if batch.observed is not None:
        found = found.masked_fill(~batch.observed, torch.nan)
    if batch.censored is not None:  # a limit leaves nothing to be looked at
        found = found.masked_fill(batch.censored != 0, torch.nan)
    return found.cpu().numpy()


@registered
class Whiteness(Check):
    """Whether the noise knows what neighbours share."""

    name, title, subject = "whiteness", "What is left", "whitened residual"
    alternative = (
        "Correlation of whitened residuals with those some samples away along each axis, and their "
        "spectrum; 0 and 1 where white."
    )
    caption = (
        "Whitened residuals of one draw of each posterior. Correlations that stay above 0 are "
        "structure that the noise takes for chance: intervals are too narrow."
    )
    needs = (Condition(lambda c: bool(c.ordered), "the data have no axis along which they go on"),)
    good, doubtful = 0.1, 0.25  # correlation of neighbours, median over observations
    sentences = {
        "good": "What the model leaves is white: samples count for what the likelihood takes them.",
        "white": "White noise is refuted: neighbours share {share:.0f} % of what the model leaves, "
        "so samples are worth {worth:.2g} of their number and intervals are up to {narrow:.1f} "
        "times too narrow, where nothing else widens them; fit with noise={advice}.",
        "dependent": "The whitened residual is not white: neighbours still share {share:.0f} % of "
        "it, so the noise's shape does not fit; fit it longer or with more knots, or look for "
        "what the model misses in the worst reconstructions.",
        "bad": "What the model leaves is not white.",
        "over": "Neighbours in the whitened residual differ more than by chance ({share:.0f} %): "
        "the noise is taken for smoother than it is, and intervals are too wide.",
    }
    size, columns = (6.4, 3.1), 2
    metric_words = {
        "whitened_autocorrelation": "correlation of neighbours in the whitened residual, largest "
        "over the axes, median over observations; 0 if white",
        "worth": "share of independent samples that as much information would be in; 1 if white",
    }

    def compute(self, context: Context) -> xr.Dataset:
        system, noise = context.run.model.system, context.run.model.noise
        result = compute_whiteness(whitened(context), system.axes, context.ordered)
        advice = advised(system.axes, context.ordered, system.channels)
        return result.assign_attrs(advice=advice, dependent=isinstance(noise, Dependent))

    def value(self, part: xr.Dataset) -> float:
        return abs(float(part["neighbour"].median()))

    def case(self, part: xr.Dataset, level: str) -> str:
        if level == "good":
            return level
        if float(part["neighbour"].median()) < 0:
            return "over"
        return "dependent" if part.attrs["dependent"] else "white"

    def words(self, part: xr.Dataset) -> dict[str, object]:
        return dict(part.attrs) | {"share": 100 * self.value(part)}

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        left, right = grid[0]
        styles = zip(result["axis"].values, ("-", "--", ":"), (FULL, PHYSICS, FULL), strict=False)
        for axis, line, colour in styles:
            row = result.sel(axis=axis)
            left.plot(row["lag"], row["autocorrelation"], line, color=colour, label=str(axis))
            right.plot(row["frequency"], row["power"], line, color=colour)
        left.axhline(0, color="black", lw=1)
        right.axhline(1, color="black", lw=1)
        left.set(xlabel="samples apart", ylabel="correlation")
        right.set(xlabel="frequency (cycles a sample)", ylabel="power (1: white)")
        left.legend(title="along")
        return (
            f"Neighbours correlate by {float(result['neighbour'].median()):.2f}: samples are worth "
            f"{result.attrs['worth']:.2g}\nof their number (0 and 1: white)"
        )
