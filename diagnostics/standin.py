"""Stand-ins: a run that was fitted to simulated data in place of measured ones says so."""

from __future__ import annotations

from groundvae.data.root import STAND_IN
from groundvae.diagnostics.verdict import Verdict
from groundvae.inference.run import Run

METRIC = "stand_in"


def is_stand_in(run: Run, source: str = "") -> bool:
    """Whether the run was fitted to a simulated stand-in, or is diagnosed on one (``source``)."""
    return STAND_IN in run.config.trained_on or STAND_IN in source


def check_stand_in(run: Run, observations: int) -> Verdict:
    """The verdict that stands above all others of such a run."""
    done = "fitted to" if is_stand_in(run) else "diagnosed on"
    meaning = (
        f"{STAND_IN}: the run was not {done} measurements, so nothing here is about the real "
        f"world; `data {run.config.system}` says where the measured data come from."
    )
    return Verdict("measured data", "bad", meaning, 1.0, 0.0, observations)
