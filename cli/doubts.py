"""What a command says on stderr of results that are to be doubted."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from groundvae.cli.console import note
from groundvae.data.dataset import Dataset
from groundvae.data.likeness import differences, other_times
from groundvae.guides.phase import Ending
from groundvae.inference import arviz as az
from groundvae.inference.plateau import unreached
from groundvae.inference.posterior import AWAY
from groundvae.inference.run import Run

SHOWN = 10  # observations named in a warning


def warn_of_unusual(result: az.InferenceData) -> None:
    """Say on stderr how many observations are unlike those that the run knows, if any."""
    if "constant_data" not in result or "out_of_distribution" not in result["constant_data"]:
        return
    marked = result["constant_data"]
    if not marked["out_of_distribution"].any():
        return
    usual = sum(float(v.attrs.get("rate", 0.0)) for v in marked.values())
    count, which = _named(marked["out_of_distribution"])
    note(
        f"WARNING: {count} of {marked.sizes['observation']} observations are unlike those that the "
        f"run was validated on (of which {100 * usual:.1f} % would be): {which}; their posteriors "
        "are extrapolations; constant_data.out_of_distribution marks them"
    )


def warn_of_run(run: Run, folder: Path, data: Dataset) -> None:
    """Say on stderr how a run ended badly, and in what data are unlike those that it knows."""
    if run.fit.ending in (Ending.DIVERGED, Ending.INTERRUPTED):
        note(
            f"WARNING: {folder}: its fit {run.fit.stop}, so what it says is that of a fit half done"
        )
    for told in differences(run.config.known, data):
        note(f"WARNING: {told}")
    if not run.guide.searches and other_times(run.config.known, data):
        note(
            f"WARNING: the guide {run.config.how.guide} is networks alone, which know the times of "
            "the fit: on others its intervals hold less than they claim; fit on such times, or by "
            "a guide that searches (laplace-normal, modes), or use --nuts"
        )


def warn_of_unusable(result: az.InferenceData) -> None:
    """Say on stderr which observations got the prior or no mode, and whose draws ran away."""
    if told := unreached(result):
        note(f"WARNING: {told}")
    constant = result["constant_data"]
    count = constant.sizes.get("observation", 0)
    if "unusable" in constant:
        bad, which = _named(constant["unusable"])
        note(
            f"WARNING: {bad} of {count} observations have no posterior and got the prior: {which}; "
            "constant_data.unusable marks them"
        )
    if AWAY in constant:
        of, which = _named(constant[AWAY] > 0)
        note(
            f"WARNING: {int(constant[AWAY].sum())} draws of {of} of {count} observations ran away "
            f"and are left out: {which}; constant_data.{AWAY} counts them"
        )


def _named(marked: xr.DataArray) -> tuple[int, str]:
    """How many observations are marked, and the first of them in words."""
    rows = marked["observation"].values[marked.values]
    more = ", ..." if len(rows) > SHOWN else ""
    return len(rows), ", ".join(str(i) for i in rows[:SHOWN]) + more
