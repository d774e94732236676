"""Against another run: by how much does each latent move, in units of its own width?

Two runs that differ in what was assumed (residual, prior, seed) and disagree by more than their
widths cannot both be right: that is structural uncertainty, at a glance. Misleads: runs that agree
can be wrong together, most of all if they share the residual. Sources: Draper (1995); Hausman
(1978) for the difference of an answer that assumes more from one that assumes less.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from groundvae.diagnostics.check import PHYSICS_LATENTS, Check, Condition, by_latent, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.evidence import compute_evidence
from groundvae.diagnostics.style import BAND, FULL, choose, panels
from groundvae.inference.observed import observations_of
from groundvae.inference.options import PosteriorOptions
from groundvae.inference.posterior import posterior
from groundvae.models.circle import difference, mean_direction

DRAWS = 100
OBSERVATIONS = 200  # asked about at most, evenly over all


def compute_against(
    one: dict[str, np.ndarray], other: dict[str, np.ndarray], periods: dict[str, float]
) -> xr.Dataset:
    """Move of each latent's mean from ``one`` to ``other``, (latent, observation).

    Draws (draw, observation) by name. ``moved`` in standard deviations of ``one``; ``apart`` in
    those that the two together allow; ``ratio`` of the widths, other over one.
    """
    moved, apart, ratio = [], [], []
    for name, draws in one.items():
        second, period = other[name], periods.get(name)
        if period is None:
            shift = second.mean(0) - draws.mean(0)
            widths = draws.std(0), second.std(0)
        else:
            centres = mean_direction(draws, period), mean_direction(second, period)
            shift = difference(centres[1], centres[0], period)
            pairs = zip((draws, second), centres, strict=True)
            widths = tuple(difference(d, c, period).std(0) for d, c in pairs)
        own, far = np.maximum(widths, 1e-300)
        moved.append(shift / own)
        apart.append(shift / np.hypot(own, far))
        ratio.append(far / own)
    dims = ("latent", "observation")
    stacked = {"moved": moved, "apart": apart, "ratio": ratio}
    return xr.Dataset({k: (dims, np.stack(v)) for k, v in stacked.items()}, {"latent": list(one)})


@registered
class Against(Check):
    """Whether another run says the same of each physics latent."""

    name, title, subject = "against", "Against another run", "{of} against the other run"
    alternative = "How far each physics latent moves from this run to the other."
    caption = (
        "In standard deviations of this run: within the grey the other run says nothing that this "
        "one's intervals do not allow for."
    )
    needs = (PHYSICS_LATENTS, Condition(lambda context: context.against is not None))
    good, doubtful = 1.2, 1.8  # root mean square, in standard deviations of the two together
    sentences = {
        "good": "The other run agrees: {of} moves by {moved:.2g} of its standard deviations.",
        "bad": "The other run disagrees: {of} moves by {moved:.2g} of its standard deviations, "
        "which its intervals do not allow for; report both, or find out which assumption decides.",
    }
    metric_words = {
        "{latent}_moved": "how far the other run moves it, in its standard deviations, median size",
        "against_density": "held-out log density (IWAE) of the other run less this one's, nats",
    }

    def compute(self, context: Context) -> xr.Dataset:
        assert context.against is not None  # a condition
        data = observations_of(context.inference_data, context.run.model.system)
        picked = choose(len(data), OBSERVATIONS)
        other = posterior(context.against, data.subset(picked), PosteriorOptions(DRAWS, DRAWS))
        second = Context(context.against, other)
        names = [n for n in context.latents.names if n in second.draws]
        result = compute_against(
            {n: context.draws[n][:, picked] for n in names},
            {n: second.draws[n] for n in names},
            dict(context.periods),
        )
        gain = np.nan
        if context.weighted and second.weighted:
            weights = second.log_weight, context.log_weight.isel(observation=picked)
            bounds = [compute_evidence(each)["iwae"].mean() for each in weights]
            gain = float(bounds[0] - bounds[1])
        return result.assign_attrs(against_density=gain)

    def value(self, part: xr.Dataset) -> float:
        return float(np.sqrt(np.nanmean(np.minimum(part["apart"] ** 2, 25.0))))

    def words(self, part: xr.Dataset) -> dict[str, object]:
        return {"moved": float(np.nanmedian(abs(part["moved"])))}

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        density = {"against_density": result.attrs["against_density"]}
        known = density if np.isfinite(density["against_density"]) else {}
        return by_latent(abs(result["moved"]), "moved") | known

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        return panels(result.sizes["latent"], (3.0, 2.4), (0, 0.6))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = [str(n) for n in result["latent"].values]
        for axes, name in zip(grid.flat, names, strict=False):
            moved = np.clip(result["moved"].sel(latent=name).values, -10, 10)
            axes.hist(moved, bins=np.linspace(-10, 10, 41), color=FULL)
            axes.axvspan(-2, 2, color=BAND, alpha=0.35, lw=0, zorder=0)
            axes.set_xlabel(f"{name}: move (posterior sd)")
        for row in grid:
            row[0].set_ylabel("observations")
        size = {n: float(np.nanmedian(abs(result["moved"].sel(latent=n)))) for n in names}
        most = max(size, key=lambda n: size[n])
        return f"The other run moves {most} by {size[most]:.2g} posterior sd (median)"
