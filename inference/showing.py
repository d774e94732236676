"""Runs and tables as HTML, where a notebook shows them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from groundvae.inference.run import Run


def shown(run: Run) -> str:
    """A run as HTML: what was fitted, how the fit ended, and its latents with their priors."""
    rows = [
        (z.name, run.config.priors[z.name], z.unit, "all" if z.shared else "each", z.meaning)
        for z in run.model.latents
    ]
    table = pd.DataFrame(rows, columns=["latent", "prior", "unit", "of", "meaning"])
    config = run.config
    what = " ".join(x for x in (config.system, config.variant, config.how.guide) if x)
    how = (
        f"{run.fit.stop}, {run.fit.steps} steps in {run.fit.seconds:.0f} s"
        if run.fit.steps
        else "not fitted"
    )
    return f"<b>{escape(what)}</b>: {escape(how)}" + table.to_html(index=False, border=0)
