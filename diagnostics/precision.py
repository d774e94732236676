"""Precision: how large is the error of each estimate to be expected, beside its prior?

From the same reckoning as the discrepancy: the posterior's own width, and what an error of the
model of the size that the residuals show would add. Misleads: as the discrepancy does; a latent can
be precise and mean something else than its name. Source: Brynjarsdottir & O'Hagan (2014).
"""

from __future__ import annotations

import xarray as xr

from groundvae.diagnostics.check import PHYSICS_LATENTS, Check, by_latent, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.discrepancy import discrepancy_of

LARGEST = 3.0  # of one error, in standard deviations of the prior: one far off is not all


@registered
class Precision(Check):
    """Whether estimates can be expected to be near."""

    name, title, subject = "precision", "Precision", "expected error of {of}"
    needs = (PHYSICS_LATENTS,)
    good, doubtful = 0.4, 0.7  # of the prior's standard deviation, root mean square
    sentences = {
        "good": "The error of {of} is expected to be {percent:.2g} % of its prior's spread.",
        "bad": "The error of {of} is expected to be {percent:.0f} % of its prior's spread: what "
        "the residuals show could move it that far.",
    }
    metric_words = {"{latent}_expected_error": "in standard deviations of its prior"}

    def compute(self, context: Context) -> xr.Dataset:
        return context.once(discrepancy_of)

    def value(self, part: xr.Dataset) -> float:
        return float((part["error"].clip(max=LARGEST) ** 2).mean() ** 0.5)

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        rms = ((result["error"].clip(max=LARGEST) ** 2).mean("observation")) ** 0.5
        return by_latent(rms, "expected_error")
