"""Leaning: do pushes that are taken to differ from one observation to the next lean one way?

A push as a function of time is centred at nothing in the population. Where most observations are
pushed alike, that is seen, and so is how far the latents would move if it were granted. Misleads:
what the latents have made up for leaves little to be seen, so a bias can be larger than is said.
"""

from __future__ import annotations

import torch
import xarray as xr

from groundvae.diagnostics.check import Check, Condition, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.nearby import search_near
from groundvae.guides.follow import parts_of
from groundvae.inference.leaning import leaning

LOOKED_AT = 50  # observations
CHANCE = 1e-3  # as of bands: a report holds some thirty checks

ALIKE = (
    "Most observations are pushed alike, but a push over time is taken to be up in one and down in "
    "another: with a mean of its own "
)
MEND = (
    "Put it into the law, its shape with a latent for its size, where it follows the clock (the "
    "sun, a shift); where it goes with a state, let the unknown see that: the mean is then learned."
)

PUSHED = Condition(lambda c: any(part.residual.timed for part in parts_of(c.run.model)))


@registered
class OneSided(Check):
    """How far a latent would move if the push had the mean over observations that it seems to."""

    name, title, subject = "leaning", "A push that leans one way", "a push that leans, and {of}"
    needs = (PUSHED,)
    good, doubtful = 0.4, 1.5  # standard deviations; a shift beyond leaves 90 % intervals 56 %
    measured = "moves"
    sentences = {
        "good": "What pushes in common in all observations would move this latent by {value:.2g} "
        "of its standard deviations at most.",
        "doubtful": ALIKE + "this latent would move by {value:.2g} of its standard deviations or "
        "more. " + MEND,
        "bad": ALIKE + "this latent would move by {value:.2g} of its standard deviations or more: "
        "its intervals hold far less than they claim. " + MEND,
    }
    metric_words = {
        "{latent}_leans": "standard deviations that it would move if the push had a mean"
    }

    def compute(self, context: Context) -> xr.Dataset:
        search = context.once(search_near)
        some = search.pick(torch.arange(len(search.at))[:LOOKED_AT])
        found = leaning(some, len(context.x))
        moves = list(found.moves.values()) if found.chance < CHANCE else [0.0] * len(found.moves)
        values = xr.DataArray(moves, {"latent": list(found.moves)}, "latent")
        attrs = {"observations": len(some.at)}
        return xr.Dataset({"moves": values, "leans": values}, attrs=attrs)
