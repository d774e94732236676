"""Checks against truth: of one physics latent whose true values the data carry."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from groundvae.diagnostics.check import Check, Condition, Finding
from groundvae.diagnostics.context import Context

LATENTS = Condition(
    lambda context: bool(len(context.latents)),
    "the model has no physics latents, so there is nothing to compare",
)


class TruthCheck(Check):
    """A check with one result, verdict and figure for each physics latent of known truth.

    ``{latent}`` in its words stands for the latent.
    """

    title = "Against truth"
    needs = (LATENTS,)

    def __call__(self, context: Context) -> Finding:
        finding = super().__call__(context)
        known = {latent.name for latent in context.known}
        unknown = [name for name in context.latents.names if name not in known]
        if unknown:
            finding.notes.append(
                f"{self.title}: the data carry no true {', '.join(unknown)}, so no recovery, "
                "coverage, ranks or bias is shown."
            )
        return finding

    def results(self, context: Context) -> Iterator[xr.Dataset]:
        for latent in context.known:
            yield self.compute(context.of(latent))
