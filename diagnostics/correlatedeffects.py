"""Correlated effects: does what is missing go with a latent that it is taken to be independent of?

A population of weights is one for all observations. Where a missing force is as strong as the law's
own (a gap in a spring, friction under a load), those of stiff springs are drawn to what is usual,
and so are those of slack ones; the latents make up for it. Pooled over observations the weights
then go with the latent, and so it is seen how far the latents would move if that were granted.
Misleads: what the latents have made up for leaves little to be seen, so a bias can be larger than
is said; a relation that no straight line sees is missed. Source: Mundlak (1978), On the pooling of
time series and cross section data.
"""

from __future__ import annotations

import xarray as xr

from groundvae.diagnostics.check import Check, Condition, by_latent, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.leaning import CHANCE
from groundvae.diagnostics.nearby import search_near
from groundvae.guides.follow import parts_of
from groundvae.inference.leaning import Leaning, correlated_effects

GOES = (
    "What is missing goes with {by}, but is taken to be independent of it: as far as that is seen "
    "{of} would move by {value:.2g} of its standard deviations"
)
MEND = (
    "Put it into the law, in units of the law's own force and with a latent for its size, or fit "
    "groups of observations of about the same {by} apart."
)

SEEN = Condition(lambda c: any(len(part.seen) for part in parts_of(c.run.model)))


@registered
class CorrelatedEffects(Check):
    """How far a latent would move if weights went with the latents as they seem to."""

    name, title = "correlatedeffects", "Correlated effects"
    subject = "correlated effects on {of}"
    needs = (SEEN,)
    good, doubtful = 0.4, 0.6
    measured = "moves"
    sentences = {
        "good": "How what is missing goes with the latents would move this one by {value:.2g} of "
        "its standard deviations at most.",
        "doubtful": GOES + ". " + MEND,
        "bad": GOES + ", and its intervals hold less than they claim. " + MEND,
    }
    metric_words = {
        "{latent}_goes_with": "standard deviations that it would move if weights went with latents"
    }

    def compute(self, context: Context) -> xr.Dataset:
        search = context.once(search_near)
        found = correlated_effects(search, len(context.x))
        names = list(context.latents.names)
        most = [_most(found, name) for name in names]
        values = {"moves": ("latent", [move for move, _ in most])}
        by = {"by": ("latent", [regressor for _, regressor in most])}
        return xr.Dataset(values | by, {"latent": names}, {"observations": len(search.at)})

    def words(self, part: xr.Dataset) -> dict[str, object]:
        return {"by": str(part["by"].values)}

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        return by_latent(result["moves"], "goes_with")


def _most(found: dict[str, Leaning], name: str) -> tuple[float, str]:
    """How far a latent would move at most, and by what; not at all where it may be chance."""
    sure = {by: one.moves[name] for by, one in found.items() if one.chance < CHANCE}
    by = max(sure, key=lambda one: sure[one], default="")
    return sure.get(by, 0.0), by
