"""Prior predictive check: does the model, before it sees them, allow the data?"""

from __future__ import annotations

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from groundvae.diagnostics.style import BAND, DATA, house_style, labelled
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded

GOOD, DOUBTFUL = 0.05, 0.25  # share of samples beyond all prior draws' range, but 1 %
DRAWS = 50
SHOWN = 60


def compute_priorpredictive(inference_data: az.InferenceData) -> xr.Dataset:
    """Band that holds 99 % of prior predictive samples, and the share of data outside it.

    Needs the groups ``prior_predictive`` and ``observed_data``, so it works before a fit
    (``groundvae.inference.prior.prior_predictive``). Source: Gabry et al. (2019), section 3.
    """
    x = inference_data["observed_data"]["x"]
    draws = np.concatenate(inference_data["prior_predictive"]["x"].values)
    low, high = np.quantile(draws, [0.005, 0.995], axis=0)
    values = x.values
    outside = np.where(np.isfinite(values), (values < low) | (values > high), np.nan)
    share = np.nanmean(outside.reshape(len(values), -1), axis=1)
    result = xr.Dataset(
        {
            "low": (x.dims[1:], low),
            "high": (x.dims[1:], high),
            "x": x,
            "outside": ("observation", share),
        }
    )
    return result.assign_attrs(draws=len(draws), outside=float(np.nanmean(outside)))


def check_priorpredictive(result: xr.Dataset) -> Verdict:
    """Whether the priors rule out data that occurred."""
    n, name = result.sizes["observation"], "prior predictive"
    if n < FEWEST or result.attrs["draws"] < DRAWS:
        return too_few(name, n, FEWEST, GOOD)
    value = float(result.attrs["outside"])
    level = grade(value, GOOD, DOUBTFUL)
    meaning = worded(
        level,
        good="The priors allow the data.",
        bad=f"{100 * value:.0f} % of the samples lie where the model expects next to none before "
        "it sees them: widen the priors, or look for units that do not match.",
    )
    return Verdict(name, level, meaning, value, GOOD, n)


def plot_priorpredictive(result: xr.Dataset) -> Figure:
    """Series over the band of prior predictive samples; other shapes as a distribution."""
    share = 100 * result.attrs["outside"]
    label = labelled(result.attrs.get("quantity", "x"), result.attrs.get("unit", ""))
    n = result.sizes["observation"]
    with house_style():
        figure, axes = plt.subplots(figsize=(5.2, 3.2))
        if result["low"].ndim == 1:
            axis = result["low"].dims[0]
            at = result[axis].values if axis in result.coords else np.arange(result.sizes[axis])
            axes.fill_between(
                at, result["low"], result["high"], color=BAND, alpha=0.35, lw=0, label="prior, 99 %"
            )
            picked = result["x"].isel(observation=np.linspace(0, n - 1, min(n, SHOWN)).astype(int))
            axes.plot(at, picked.values.T, color=DATA, lw=0.4, alpha=0.4)
            axes.set_xlabel("time (s)" if axis == "time" else str(axis))
            axes.set_ylabel(label)
            figure.legend(loc="outside lower center")
        else:
            axes.hist(100 * result["outside"].values, bins=40)
            axes.set_xlabel("samples of an observation outside the prior's 99 % band (%)")
            axes.set_ylabel("observations")
        axes.set_title(f"{share:.1f} % of the data lie outside what the priors expect")
    return figure
