"""Information: how much of what the data say of each latent does the unknown part take away?

A guide of modes knows it of each observation. Near 1 the data cannot tell the latent from what is
unknown, and where its intervals lie is decided by what the population let the unknown do. Misleads:
much may be taken and the rest be enough; what matters is whether the interval is still narrow.
Source: Brynjarsdottir & O'Hagan (2014).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import Check, Condition, by_latent, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import FULL, panels

TAKEN = "information_taken_"


def _told(context: Context) -> bool:
    data = context.inference_data
    return "constant_data" in data and any(str(k).startswith(TAKEN) for k in data["constant_data"])


@registered
class Information(Check):
    """Whether the data can tell each latent from what is unknown."""

    name, title, subject = "information", "Information left", "information left on {of}"
    alternative = "Share of the information on each latent that the unknown part takes away."
    caption = (
        "At 1 a latent cannot be told from what is unknown: its posterior then rests on what was "
        "assumed of the unknown."
    )
    needs = (Condition(_told),)
    measured, good, doubtful = "taken", 0.98, 0.999
    sentences = {
        "good": "The unknown part takes {percent:.0f} % of the information on {of}; enough is left.",
        "bad": "The unknown part takes {percent:.1f} % of the information on {of}: the two cannot "
        "be told apart, and its intervals rest on what was assumed of the unknown.",
    }
    metric_words = {"{latent}_information_taken": "share that the unknown part takes, median"}

    def compute(self, context: Context) -> xr.Dataset:
        constant = context.inference_data["constant_data"]
        names = [n for n in context.latents.names if TAKEN + n in constant]
        taken = np.stack([constant[TAKEN + n].values for n in names])
        return xr.Dataset({"taken": (("latent", "observation"), taken)}, {"latent": names})

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        return by_latent(result["taken"], "information_taken")

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        return panels(result.sizes["latent"], (3.0, 2.2), (0, 0.6))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = [str(n) for n in result["latent"].values]
        for axes, name in zip(grid.flat, names, strict=False):
            axes.hist(result["taken"].sel(latent=name), bins=np.linspace(0, 1, 26), color=FULL)
            axes.set_xlabel(f"{name}: share taken")
        for row in grid:
            row[0].set_ylabel("observations")
        middle = {n: float(result["taken"].sel(latent=n).median()) for n in names}
        most = max(middle, key=lambda n: middle[n])
        return f"The unknown takes {100 * middle[most]:.0f} % of what the data say of {most} (median)"
