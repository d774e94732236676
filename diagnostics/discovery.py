"""Discovery: what the unknown part turned out to be, and which of it may be the physics.

Shows the population's spectrum of the push, its function of each state, and how each term that
survived moves with each physics latent in the posterior. Misleads: a term that the data cannot
tell from the physics is held to small scales, so its absence says little (``imitated``). Sources:
docs/unknown.md; Brynjarsdottir & O'Hagan (2014) on what a discrepancy may take from the physics.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from groundvae.diagnostics.check import Check, Condition, LeftOutError, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.nearby import near_posteriors
from groundvae.diagnostics.style import CYCLE, FULL, subplots
from groundvae.guides.modes import TAKEN
from groundvae.inference.discovery import Discovery, discovered, weights_of
from groundvae.inference.imitation import COLUMNS, imitations
from groundvae.models.residuals.unknown import Unknown

BAND = 1.645  # standard deviations of a 90 % band
MOST = 8  # terms shown
LOOKED_AT = 32  # observations, to see what a law makes of what is missing

FELT = 1.0  # standard deviations of a latent, that what nobody sees must move it by to be named

UNKNOWN = Condition(lambda c: any(isinstance(r, Unknown) for r in c.run.model.terms))


def compute_confounding(latents: xr.Dataset, weights: xr.DataArray) -> xr.DataArray:
    """How each latent moves with each term within a posterior, (latent, term), within 0 .. 1.

    The root mean square over observations of the correlation over draws, less what chance gives.

    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=(1, 400, 50))
    >>> dims = ("chain", "draw", "observation")
    >>> terms = np.stack([-z, rng.normal(size=z.shape)], -1)
    >>> found = compute_confounding(
    ...     xr.Dataset({"omega": (dims, z)}),
    ...     xr.DataArray(terms, {"term": ["same", "other"]}, (*dims, "term")))
    >>> found.sel(latent="omega").round(1).values.tolist()
    [1.0, 0.0]
    """
    found = {}
    count = weights.sizes["chain"] * weights.sizes["draw"]
    for name, drawn in latents.items():
        each = xr.corr(drawn, weights, ("chain", "draw"))
        excess = ((each**2).mean("observation") - 1 / count) / (1 - 1 / count)
        found[str(name)] = (excess.clip(0, 1) ** 0.5).fillna(0.0)
    return xr.concat(found.values(), pd.Index(list(found), name="latent"))


def _imitations(context: Context) -> pd.DataFrame:
    """``imitations`` near some posteriors; none where these are too large to be looked at."""
    try:
        near = context.once(near_posteriors)[:LOOKED_AT]
    except LeftOutError:
        return pd.DataFrame(columns=COLUMNS)
    return imitations(context.run.model, near.scores, near.at, near.batch)


@registered
class Discovered(Check):
    """What of the information on each physics latent the unknown takes away."""

    name, title, subject = "discovery", "The unknown part", "what the unknown takes of {of}"
    alternative = (
        "The spectrum of the push, if any, what is added to the rate along each state with a 90 % "
        "band over the population, and how each term moves with each physics latent."
    )
    caption = (
        "How strong the push is at each frequency, where there is one; what the states add to the "
        "rate, with a 90 % band over observations; at the right, by how much each term that was "
        "found moves with each physics latent within a posterior (correlation): what is near 1 "
        "there, the data can hardly tell from that latent."
    )
    needs = (UNKNOWN,)
    always = True
    good, doubtful = 0.99, 0.9999
    measured = "taken"
    sentences = {
        "good": "Beside the unknown part the data still tell this latent: it takes {percent:.3g} % "
        "of the information on it, and the intervals are as much wider.",
        "doubtful": "The unknown part takes {percent:.4g} % of the information on this latent: its "
        "prior and what is assumed of the unknown decide as much as the data do.",
        "bad": "The unknown part takes {percent:.5g} % of the information on this latent: these "
        "data cannot tell it from what is unknown; say more of the law, or measure more.",
    }
    size = (10.0, 3.4)
    metric_words = {
        "{latent}_taken": "share of the information on it that the unknown part takes, median"
    }

    def compute(self, context: Context) -> xr.Dataset:
        judged = context.inference_data["constant_data"]
        names = [n for n in context.latents.names if f"{TAKEN}_{n}" in judged]
        if not names:
            raise LeftOutError("the posterior does not say what the unknown part takes")
        taken = xr.concat([judged[f"{TAKEN}_{n}"] for n in names], pd.Index(names, name="latent"))
        weights = weights_of(context.run, context.inference_data)
        latents = context.inference_data["posterior"][names]
        latents = latents.isel(draw=slice(weights.sizes["draw"]))
        result = xr.Dataset({"taken": taken.drop_vars("observation", errors="ignore")})
        result["confounding"] = compute_confounding(latents, weights)
        result.attrs["found"] = discovered(context.run)
        result.attrs["imitations"] = _imitations(context)
        return result

    def provided(self, part: xr.Dataset) -> str:
        """What must not be missing: what the law's own latent would take the place of."""
        name, found = str(part["latent"].values), part.attrs["imitations"]
        some = found[(found["latent"] == name) & (found["moves"] > FELT)]
        if not len(some):
            return ""
        worst = some.loc[some["moves"].idxmax()]
        return (
            f"It holds if nothing that is missing on {worst['acts_on']} is proportional to "
            f"{worst['state']}: {name} would take its place, and move by {worst['moves']:.2g} of "
            "its standard deviations for a tenth of the usual rate."
        )

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        found = result.attrs["found"]
        panels = 1 + (len(found.pushes) > 0) + (len(found.functions) > 0)
        return subplots(1, panels, (max(5.2, 10.0 * panels / 3), 3.4))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        found, axes = result.attrs["found"], list(grid[0])
        if len(found.pushes):
            _draw_spectrum(found, axes.pop(0))
        if len(found.functions):
            _draw_functions(found, axes.pop(0))
        _draw_confounding(found, result["confounding"], axes.pop(0))
        return "Found beside the physics: " + "\n".join(str(found).split("\n")[:2])


def _draw_spectrum(found: Discovery, axes: Axes) -> None:
    for name, part in found.pushes.groupby("acts_on"):
        axes.plot(part["frequency"], part["amplitude"], label=f"on {name}")
    axes.set(
        xlabel=f"frequency ({found.frequency_unit})",
        ylabel="usual size of a wave (units of the rate)",
    )
    axes.set_ylim(bottom=0)
    axes.legend()


def _draw_functions(found: Discovery, axes: Axes) -> None:
    lines = ("-", "--", ":", "-.")
    for i, ((acted, state), part) in enumerate(found.functions.groupby(["acts_on", "state"])):
        share = part["value"] / part["value"].abs().max() * 2
        color = CYCLE[i % len(CYCLE)]
        axes.plot(share, part["mean"], lines[i % 4], color=color, label=f"{state} on {acted}")
        low, high = (part["mean"] + sign * BAND * part["scale"] for sign in (-1, 1))
        axes.fill_between(share, low, high, color=color, alpha=0.2, lw=0)
    axes.set(xlabel="state, of its usual size", ylabel="added to the rate (its units)")
    axes.legend(fontsize=7)


def _draw_confounding(found: Discovery, confounding: xr.DataArray, axes: Axes) -> None:
    alive = found.alive()[:MOST][::-1]
    names = [f"{row.acts_on}: {row.feature}" for row in alive.itertuples()]
    rows = np.arange(len(names))
    latents = list(confounding["latent"].values)
    high = 0.8 / max(len(latents), 1)
    for i, latent in enumerate(latents):
        values = confounding.sel(latent=latent, term=names).values
        axes.barh(rows + i * high, values, high, label=latent, color=CYCLE[i % len(CYCLE)])
    axes.set_yticks(rows + 0.4 - high / 2, names, fontsize=7)
    axes.set(xlim=(0, 1), xlabel="moves with a latent (correlation)")
    axes.axvline(0, color=FULL, lw=0)
    axes.legend(fontsize=7)
