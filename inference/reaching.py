"""A run that is asked about times beyond its data."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from groundvae.inference.run import Run


def reaching(run: Run, until: float | None) -> Run:
    """``run``, its residuals told of times up to ``until``, s; itself, where that changes nothing.

    What is unknown beyond the data is then as wide as the population is, and no repetition of
    what it was within. With a guide that was trained on the window alone it stays what it is.
    """
    if until is None or not run.guide.reaches:
        return run
    model = deepcopy(run.model)
    for residual in model.terms:
        residual.reach(until)
    if model.auxiliary == run.model.auxiliary:
        return run
    guide = deepcopy(run.guide)
    guide.attach(model)
    return replace(run, model=model, guide=guide)
