"""Z-score against contraction: is the posterior off, and did the data inform it?"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from groundvae.diagnostics.latents import KnownLatent
from groundvae.diagnostics.style import BAND, FULL, house_style
from groundvae.diagnostics.verdict import FEWEST, Level, Verdict, too_few, worded

GOOD, DOUBTFUL = 0.1, 0.25  # of a posterior standard deviation
CERTAIN = 3.29  # standard errors: 99.9 %, as for the bands, since a report holds many checks


def compute_zscore(latent: KnownLatent, prior_variance: float) -> xr.Dataset:
    """Z-scores of the truth and contraction, (observation,).

    ``zscore = (posterior mean - truth) / posterior sd``; ``contraction = 1 - posterior
    variance / prior variance``. Source: Schad, Betancourt & Vasishth (2021), section 4.
    """
    spread = latent.draws.std(axis=0)
    off = latent.draws.mean(axis=0) - latent.truth
    zscore = np.divide(off, spread, out=np.full_like(off, np.nan), where=spread > 0)
    contraction = 1 - spread**2 / prior_variance if prior_variance > 0 else np.nan * spread
    kept = zscore[np.isfinite(zscore)]
    n = len(kept)
    attrs = {
        "name": latent.name,
        "observations": n,
        "bias": float(kept.mean()) if n else np.nan,
        "error": float(kept.std() / np.sqrt(n)) if n else np.nan,
        "rms": float(np.sqrt((kept**2).mean())) if n else np.nan,
    }
    variables = {"zscore": zscore, "contraction": contraction}
    return xr.Dataset({k: ("observation", v) for k, v in variables.items()}, attrs=attrs)


def check_zscore(result: xr.Dataset) -> Verdict:
    """Whether the posterior is shifted on the whole, in posterior standard deviations."""
    n, bias, error = (result.attrs[k] for k in ("observations", "bias", "error"))
    name = f"bias of {result.attrs['name']}"
    if n < FEWEST:
        return too_few(name, n, FEWEST, GOOD)
    if abs(bias) <= GOOD or abs(bias) < CERTAIN * error:
        good = "On the whole the posterior is neither too high nor too low."
        return Verdict(name, "good", good, bias, GOOD, n)
    level: Level = "doubtful" if abs(bias) <= DOUBTFUL else "bad"
    side = "high" if bias > 0 else "low"
    meaning = worded(
        level,
        bad=f"The posterior is too {side} by {abs(bias):.2g} of its standard deviations on "
        "average: correct for it before averaging over observations, and look at the residual.",
    )
    return Verdict(name, level, meaning, bias, GOOD, n)


def plot_zscore(result: xr.Dataset) -> Figure:
    """Each observation's z-score over its contraction; right and between -2 and 2 is best."""
    bias, rms = result.attrs["bias"], result.attrs["rms"]
    with house_style():
        figure, axes = plt.subplots(figsize=(5.2, 3.8))
        axes.axhspan(-2, 2, color=BAND, alpha=0.25, lw=0, label="95 % of calibrated ones")
        left = np.clip(1 - result["contraction"], 1e-8, None)
        axes.plot(left, result["zscore"], ".", ms=4, alpha=0.5, color=FULL, mec="none")
        axes.set_yscale("symlog", linthresh=4)
        largest = float(np.nanmax(np.abs(result["zscore"]), initial=4.0))
        ticks = [t for t in (2, 4, 10, 30, 100, 1000) if t <= max(4.0, 1.5 * largest)]
        axes.set_yticks([*(-t for t in ticks), 0, *ticks])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.invert_xaxis()
        axes.set_xlabel("1 - contraction (1: the prior; to the right: certain)")
        axes.set_ylabel("z-score (posterior sd)")
        axes.set_title(
            f"{result.attrs['name']}: off by {bias:+.2g} sd on average, {rms:.2g} sd in size\n"
            f"(calibrated: 0 and 1)"
        )
        axes.legend(loc="lower left")
    return figure
