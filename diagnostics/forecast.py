"""Forecast: inferred from the first part of each observation, does the model predict the rest?

The last part is hidden, the posterior is asked again, and its bands are compared with what was
hidden: the only test of going on that the data themselves allow. Misleads: it goes on by two thirds
of a window, not by ten windows; a guide that never saw a part of a window may answer worse than the
model could. Source: Gneiting, Balabdaoui & Raftery (2007).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import Check, LeftOutError, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.score import interval
from groundvae.diagnostics.style import FULL
from groundvae.diagnostics.verdict import Level
from groundvae.inference.observed import observations_of
from groundvae.inference.options import PosteriorOptions
from groundvae.inference.posterior import posterior

OBSERVATIONS = 50  # asked again
DRAWS = 60
SHOWN, FEWEST = 0.6, 5  # share of the window that is shown; samples hidden at least
LEVEL = 0.9
HELD = {"good": (0.80, 1.0), "doubtful": (0.65, 1.0)}


def compute_forecast(x: np.ndarray, draws: np.ndarray, first: int) -> xr.Dataset:
    """Share of what was hidden inside 90 % bands, by ``observation`` and by ``time``.

    ``x`` (observation, time, ...), ``draws`` (draw, observation, time, ...), hidden from the sample
    ``first`` on; NaN is missing.
    """
    low, high = interval(draws[:, :, first:], LEVEL)
    hidden = x[:, first:]
    inside = np.where(np.isfinite(hidden), (low <= hidden) & (hidden <= high), np.nan)
    flat = inside.reshape(*inside.shape[:2], -1)
    kept = np.isfinite(flat).any((1, 2))
    off = np.abs(draws[:, :, first:].mean(0) - hidden).reshape(flat.shape)
    variables = {
        "held": ("observation", np.nanmean(flat[kept], axis=(1, 2))),
        "held_at": ("time", np.nanmean(flat, axis=(0, 2))),
        "error_at": ("time", np.nanmedian(off, axis=(0, 2))),
    }
    return xr.Dataset(variables, {"time": np.arange(first, x.shape[1])})


@registered
class Forecast(Check):
    """Whether the model goes on where the data end."""

    name, title, subject = "forecast", "Forecast", "forecast of a hidden part"
    alternative = "Share of the hidden samples inside the 90 % bands, by how far ahead they are."
    caption = (
        "Inferred from the first six tenths, compared with the rest. At 0.9 the bands are right; "
        "far below, predictions beyond the window are too sure."
    )
    measured, good, doubtful = "held", HELD["good"][0], HELD["doubtful"][0]
    sentences = {
        "good": "Of the part that was hidden, 90 % bands hold {percent:.0f} %.",
        "bad": "Of the part that was hidden from it, 90 % bands hold only {percent:.0f} %: what it "
        "says beyond the data is too sure.",
    }
    columns, size = 2, (6.4, 3.1)
    metric_words = {"forecast_cov90": "share of a hidden last part inside 90 % bands"}

    def compute(self, context: Context) -> xr.Dataset:
        system = context.run.model.system
        steps = context.x.shape[1] if context.x.ndim > 1 else 0
        first = round(SHOWN * steps)
        if not system.axes or system.axes[0] != "time":
            raise LeftOutError("the data have no axis of time to go on along")
        if steps - first < FEWEST:
            raise LeftOutError(f"{steps} samples in time are too few to hide a part of them")
        data = observations_of(context.inference_data, system)
        some = data.subset(np.arange(min(OBSERVATIONS, len(data))))
        x = np.array(some.x)
        x[:, first:] = np.nan
        seen = np.isfinite(x).reshape(len(x), -1).any(1)
        if not seen.any():
            raise LeftOutError("nothing is left where the last part is hidden")
        again = posterior(context.run, replace(some, x=x), PosteriorOptions(DRAWS, DRAWS))
        drawn = np.concatenate(again["posterior_predictive"]["x"].values)
        result = compute_forecast(np.array(some.x)[seen], drawn[:, seen], first)
        return result.assign_attrs(forecast_cov90=float(result["held"].mean()))

    def value(self, part: xr.Dataset) -> float:
        return float(part["held"].mean())

    def level(self, part: xr.Dataset, value: float) -> Level:
        return "good" if value >= self.good else "doubtful" if value >= self.doubtful else "bad"

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        left, right = grid[0]
        left.plot(result["time"], result["held_at"], "o-", ms=3, color=FULL)
        left.axhline(LEVEL, color="black", ls="--", lw=1)
        left.set(xlabel="sample in time", ylabel="share inside 90 % bands", ylim=(0, 1.02))
        right.hist(result["held"], bins=np.linspace(0, 1, 26), color=FULL)
        right.set(xlabel="share inside, of an observation", ylabel="observations")
        return f"Of a hidden last part 90 % bands hold {100 * self.value(result):.0f} %"
