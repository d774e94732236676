"""Summaries of the draws: estimates and intervals of each observation, on line or circle."""

from __future__ import annotations

import numpy as np
import xarray as xr

from groundvae.diagnostics.latents import period_of
from groundvae.diagnostics.score import interval
from groundvae.models.circle import cut_open

STATISTICS = ("mean", "sd", "low", "high")


def summarize(posterior: xr.Dataset, level: float = 0.9) -> xr.Dataset:
    """Mean, standard deviation and central interval, (statistic, observation), of each latent.

    Angles that wrap (attribute ``period``) are cut open opposite to the draws' mean direction:
    draws about a seam give one interval across it, whose ends may lie outside the range of the
    angle. ArviZ' own ``summary`` takes every angle for one of period 2 pi.

    >>> draws = xr.Variable(("chain", "draw", "observation"), [[[0.1], [3.1]]], {"period": 3.2})
    >>> found = summarize(xr.Dataset({"angle": draws}))
    >>> [round(float(v), 3) for v in found["angle"].sel(statistic=["mean", "sd"]).squeeze()]
    [0.0, 0.1]
    """
    found = {}
    for name, variable in posterior.data_vars.items():
        if variable.dims != ("chain", "draw", "observation"):
            continue
        draws = np.concatenate(variable.values)
        period = period_of(variable, None)
        lifted = draws if period is None else cut_open(draws, period)
        mean = lifted.mean(axis=0)
        if period is not None:
            turns = period * np.round((mean - mean % period) / period)
            lifted, mean = lifted - turns, mean - turns
        rows = np.stack([mean, lifted.std(axis=0), *interval(lifted, level)])
        found[name] = xr.Variable(("statistic", "observation"), rows, variable.attrs)
    coords = {"statistic": list(STATISTICS)}
    return xr.Dataset(found, coords, {"level": level})
