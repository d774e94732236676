"""Stand-ins: a run that was fitted to simulated data in place of measured ones says so.

Silent where the data are what they claim to be; else it stands above all other verdicts.
"""

from __future__ import annotations

import xarray as xr

from groundvae.data.root import STAND_IN
from groundvae.diagnostics.check import Check, Condition, registered
from groundvae.diagnostics.context import Context
from groundvae.inference.run import Run

METRIC = "stand_in"


def is_stand_in(run: Run) -> bool:
    """Whether the run was fitted to a simulated stand-in."""
    return STAND_IN in run.config.trained_on


@registered
class MeasuredData(Check):
    """Whether the run knows measurements, or a stand-in for them."""

    name, title, subject = "standin", "Measured data", "measured data"
    needs = (Condition(lambda context: bool(context.stand_in)),)
    good, doubtful, fewest = 0.0, 0.0, 0
    sentences = {
        "bad": f"{STAND_IN}: the run was not {{done}} measurements, so nothing here is about the "
        "real world; `data {system}` says where the measured data come from."
    }
    metric_words = {METRIC: "1: fitted to a simulated stand-in, NOT to measured data"}

    def compute(self, context: Context) -> xr.Dataset:
        return xr.Dataset(
            {"stand_in": ("observation", [True] * len(context.x))},
            attrs={"done": context.stand_in, "system": context.system},
        )

    def value(self, part: xr.Dataset) -> float:
        return float(part["stand_in"].all())

    def words(self, part: xr.Dataset) -> dict[str, object]:
        return dict(part.attrs)

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        return {METRIC: self.value(result)}
