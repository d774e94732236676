"""Prior predictive check: does the model, before it sees them, allow the data?

Misleads: in a report the residual and the noise are fitted, so it checks the priors of the
latents; a very wide prior always passes. Source: Gabry et al. (2019), section 3.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import PRIOR_PREDICTIVE, Check, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import BAND, DATA, choose, labelled, places
from groundvae.inference import arviz as az

DRAWS = 50
SHOWN = 60


def compute_priorpredictive(inference_data: az.InferenceData) -> xr.Dataset:
    """Band (*event) that holds 99 % of prior predictive samples, and the share of data outside it.

    Needs the groups ``prior_predictive`` and ``observed_data``, so it works before a fit
    (``groundvae.inference.prior.prior_predictive``).
    """
    x = inference_data["observed_data"]["x"]
    draws = np.concatenate(inference_data["prior_predictive"]["x"].values)
    low, high = np.nanquantile(draws, [0.005, 0.995], axis=0)  # NaN: ran away
    values = x.values
    outside = np.where(np.isfinite(values), (values < low) | (values > high), np.nan)
    share = np.nanmean(outside.reshape(len(values), -1), axis=1)
    events = x.dims[1:]
    variables = {"low": (events, low), "high": (events, high), "x": x}
    result = xr.Dataset(variables | {"outside": ("observation", share)})
    return result.assign_attrs(draws=len(draws), outside=float(np.nanmean(outside)))


@registered
class PriorPredictive(Check):
    """Whether the priors rule out data that occurred."""

    name, title, subject = "priorpredictive", "Prior predictive check", "prior predictive"
    alternative = "The data over the band in which the fitted model's prior predictions lie."
    caption = (
        "The residual and the noise here are fitted, so it checks the priors of the latents; the "
        "command `check` looks at a model before its fit."
    )
    needs = (PRIOR_PREDICTIVE,)
    good, doubtful = 0.05, 0.25  # share of samples beyond all prior draws' range, but 1 %
    measured = "outside"
    sentences = {
        "good": "The priors allow the data.",
        "bad": "{percent:.0f} % of the samples lie where the model expects next to none before "
        "it sees them: widen the priors, or look for units that do not match.",
    }
    metric_words = {"prior_outside": "share of samples outside the prior's 99 % band"}

    def compute(self, context: Context) -> xr.Dataset:
        result = compute_priorpredictive(context.inference_data)
        return result.assign_attrs(quantity=context.quantity, unit=context.unit)

    def refusal(self, part: xr.Dataset) -> str:
        few = f"No verdict from fewer than {DRAWS} draws of the prior: draw more."
        return super().refusal(part) or (few if part.attrs["draws"] < DRAWS else "")

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        axes = grid[0, 0]
        if result["low"].ndim == 1:
            at, label = places(result["low"])
            axes.fill_between(
                at, result["low"], result["high"], color=BAND, alpha=0.35, lw=0, label="prior, 99 %"
            )
            picked = result["x"].isel(observation=choose(result.sizes["observation"], SHOWN))
            axes.plot(at, picked.values.T, color=DATA, lw=0.4, alpha=0.4)
            axes.set_xlabel(label)
            attrs = result.attrs
            axes.set_ylabel(labelled(attrs.get("quantity", "x"), attrs.get("unit", "")))
            grid[0, 0].figure.legend(loc="outside lower center")
        else:
            axes.hist(100 * result["outside"].values, bins=40)
            axes.set_xlabel("samples of an observation outside the prior's 99 % band (%)")
            axes.set_ylabel("observations")
        share = 100 * result.attrs["outside"]
        return f"{share:.1f} % of the data lie outside what the priors expect"
