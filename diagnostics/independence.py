"""Independence: does what is missing change with a latent that one might want to change?

A counterfactual changes a physics latent and keeps the residual as it was inferred. That is right
only if the two are independent, as the model's prior says they are. Draws of all observations,
pooled, must then show no correlation between a latent and the strength of the residual. Misleads:
a dependence that no rank correlation sees is missed; a latent that never varied shows none.
Sources: Talts et al. (2018) for pooled draws and the prior; Pearl (2009), chapter 3.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import norm, rankdata

from groundvae.diagnostics.check import PHYSICS_LATENTS, RESIDUAL, Check, by_latent, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import FULL, panels
from groundvae.diagnostics.verdict import FEWEST, Level, grade
from groundvae.inference.inferencedata import WEIGHTS
from groundvae.models.greybox import AUXILIARY

DRAWS = 20  # of each observation, averaged over
SURE = 0.999


def compute_independence(physics: np.ndarray, auxiliary: np.ndarray) -> xr.Dataset:
    """Rank correlation of each latent with the residual's strength, over observations (latent,).

    ``physics`` (draw, observation, latent), ``auxiliary`` (draw, observation, part): strength is
    the sum of squares of the parts, standard normal under the prior.

    >>> rng = np.random.default_rng(0)
    >>> z, free = rng.normal(size=(5, 300, 1)), rng.normal(size=(5, 300, 4))
    >>> bool(abs(compute_independence(z, free)["rank"][0]) < 0.2)
    True
    >>> bool(compute_independence(np.exp(z), free * np.exp(z))["rank"][0] > 0.5)
    True
    """
    strength = (auxiliary**2).sum(-1)
    ranks = rankdata(physics, axis=1), rankdata(strength, axis=1)
    first, second = (r - r.mean(1, keepdims=True) for r in ranks)
    together = np.einsum("dnl,dn->dl", first, second)
    size = np.sqrt((first**2).sum(1) * (second**2).sum(1)[:, None])
    rank = np.divide(together, size, out=np.zeros_like(together), where=size > 0).mean(0)
    n = physics.shape[1]
    variables = {
        "rank": ("latent", rank),
        "latent_mean": (("observation", "latent"), physics.mean(0)),
        "strength": ("observation", np.sqrt(strength.mean(0))),
    }
    chance = norm.ppf(0.5 + SURE / 2) / np.sqrt(max(n - 1, 1))
    return xr.Dataset(variables, attrs={"observations": n, "chance": float(chance)})


@registered
class Independence(Check):
    """Whether the residual may be kept as it is when a latent is changed."""

    name, title, subject = "independence", "Independence", "residual against {of}"
    alternative = "Strength of each observation's residual against each physics latent."
    caption = (
        "A slope means that what is missing changes with the latent: predictions under another "
        "value of it that keep the residual are then wrong."
    )
    needs = (PHYSICS_LATENTS, RESIDUAL)
    good, doubtful = 0.25, 0.45
    sentences = {
        "good": "What is missing does not change with {of}, as far as ranks tell.",
        "bad": "What is missing is {how} where {of} is larger (rank correlation {value:.2f}): "
        "keeping it while {of} changes is wrong; tell the residual how it depends on {of}.",
    }
    metric_words = {"{latent}_residual_rank": "rank correlation with the strength of the residual"}

    def compute(self, context: Context) -> xr.Dataset:
        data = context.inference_data
        group = WEIGHTS if WEIGHTS in data else "posterior"
        auxiliary = np.concatenate(data[group][AUXILIARY].values)[:DRAWS]
        names = context.latents.names
        drawn = np.stack([context.draws[name][: len(auxiliary)] for name in names], -1)
        return compute_independence(drawn, auxiliary).assign_coords(latent=list(names))

    def value(self, part: xr.Dataset) -> float:
        return float(part["rank"])

    def refusal(self, part: xr.Dataset) -> str:
        n = int(part.attrs["observations"])
        return f"No verdict from {n} observations: diagnose on {FEWEST}." if n < FEWEST else ""

    def level(self, part: xr.Dataset, value: float) -> Level:
        by_chance = abs(value) < part.attrs["chance"]
        return "good" if by_chance else grade(abs(value), self.good, self.doubtful)

    def words(self, part: xr.Dataset) -> dict[str, object]:
        return {"how": "stronger" if self.value(part) > 0 else "weaker"}

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        return by_latent(result["rank"], "residual_rank")

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        return panels(result.sizes["latent"], (3.0, 2.4), (0, 0.6))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = [str(n) for n in result["latent"].values]
        for axes, name in zip(grid.flat, names, strict=False):
            axes.plot(result["latent_mean"].sel(latent=name), result["strength"], ".", color=FULL)
            axes.set_xlabel(name)
        for row in grid:
            row[0].set_ylabel("strength of the residual")
        rank = {n: float(result["rank"].sel(latent=n)) for n in names}
        most = max(rank, key=lambda n: abs(rank[n]))
        return f"The residual's strength goes with {most} by a rank correlation of {rank[most]:.2f}"
