"""Contraction, KL and active units: did the data reach each latent, or did it collapse?

Near 1 the data decide, near 0 the prior does. Misleads: narrow is not right, see coverage; KL is
estimated from draws, and is noisy by some hundredths of a nat. Sources: Schad, Betancourt &
Vasishth (2021); Burda, Grosse & Salakhutdinov (2016), appendix C, for active units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr
from scipy.stats import differential_entropy

from groundvae.diagnostics.check import LATENTS, Check, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.latents import is_auxiliary, names_of
from groundvae.diagnostics.score import contraction
from groundvae.diagnostics.style import FULL, OTHER, subplots
from groundvae.diagnostics.verdict import Criterion, Verdict

ACTIVE = 0.01  # variance of the posterior mean, in prior variances; Burda et al. (2016)
DRAWS = 50  # below, the entropy of the draws says nothing


def compute_contraction(
    draws: Mapping[str, np.ndarray],
    prior_variance: Mapping[str, float],
    log_prior: Mapping[str, np.ndarray] | None = None,
) -> xr.Dataset:
    """Contraction and marginal KL of each latent (latent, observation), activity (latent,).

    ``contraction = 1 - posterior variance / prior variance``; ``kl`` (nats) from the posterior
    to the prior, by the Vasicek entropy of the draws; ``activity`` the variance of the posterior
    mean over observations, in prior variances: an active unit has more than 0.01. ``draws`` and
    ``log_prior`` (draw, observation).

    >>> rng = np.random.default_rng(0)
    >>> collapsed = compute_contraction({"a": rng.normal(size=(2000, 30))}, {"a": 1.0})
    >>> bool(abs(collapsed["contraction"]).mean() < 0.1), bool(collapsed["activity"][0] < 0.01)
    (True, True)
    """
    names = list(draws)
    dims = ("latent", "observation")
    variables = {
        "contraction": (dims, np.stack([contraction(draws[n], prior_variance[n]) for n in names])),
        "activity": ("latent", [draws[n].mean(0).var() / prior_variance[n] for n in names]),
    }
    result = xr.Dataset(variables, {"latent": names})
    result.attrs["active_units"] = int((result["activity"] > ACTIVE).sum())
    if log_prior is not None and len(draws[names[0]]) >= DRAWS:
        kl = [_divergence(draws[n], log_prior[n]) for n in names]
        result["kl"] = (dims, np.stack(kl))
    return result


def _divergence(draws: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        entropy = differential_entropy(draws, axis=0)
    return np.maximum(-entropy - log_prior.mean(axis=0), 0.0)  # the estimate is noisy


class ActiveUnits(Criterion):
    """Whether anything of ``z_aux`` varies with the data."""

    subject = "active units of z_aux"
    good, doubtful = 1, 0
    sentences = {
        "good": "{value:.0f} of {units} auxiliary latents carry something about the data.",
        "spare": "{value:.0f} of {units} auxiliary latents carry something about the data. "
        "A smaller z_aux would do.",
        "bad": "No auxiliary latent carries anything: the residual is the same for every "
        "observation; lower the penalties, or fit physics-only.",
    }

    def parts(self, result: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
        yield "", result  # all of z_aux together

    def value(self, part: xr.Dataset) -> float:
        return int((part["activity"] > ACTIVE).sum())

    def case(self, part: xr.Dataset, level: str) -> str:
        spare = self.value(part) < part.sizes["latent"]
        return "spare" if level == "good" and spare else level

    def words(self, part: xr.Dataset) -> dict[str, object]:
        return {"units": part.sizes["latent"]}


@registered
class Contraction(Check):
    """Whether the data inform each physics latent, and anything of ``z_aux``."""

    name, title, subject = "contraction", "Information", "contraction of {of}"
    alternative = (
        "Contraction of each latent's posterior from its prior, as boxes over observations."
    )
    caption = (
        "Near 1 the data decide, near 0 the prior does. A narrow posterior is not yet a right "
        "one: read it beside coverage."
    )
    needs = (LATENTS,)
    good, doubtful = 0.5, 0.1
    measured = "contraction"
    sentences = {
        "good": "The data inform this latent: its posterior is much narrower than its prior.",
        "doubtful": "The data inform this latent only a little: the prior matters, so choose it "
        "with care and report it.",
        "bad": "The posterior is about the prior: the data say nothing about this latent, and its "
        "good calibration would mean nothing either.",
    }
    metric_words = {
        "{latent}_contraction": "1 - posterior / prior variance, median; 1 is certain",
        "{latent}_kl": "from posterior to prior, nats, median",
        "active_units": "latents whose posterior mean varies with the data",
    }

    def compute(self, context: Context) -> xr.Dataset:
        return compute_contraction(context.draws, context.prior_variance, context.log_prior)

    def verdicts(self, result: xr.Dataset) -> list[Verdict]:
        """One for each physics latent, and one for all of ``z_aux``."""
        auxiliary = [i for i, n in enumerate(names_of(result)) if is_auxiliary(n)]
        units = ActiveUnits().verdicts(result.isel(latent=auxiliary)) if auxiliary else []
        return super().verdicts(result) + units

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        return subplots(1, 1, (5.2, 1.2 + 0.32 * result.sizes["latent"]))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = names_of(result)
        weakest = names[int(result["contraction"].median("observation").values.argmin())]
        axes = grid[0, 0]
        boxes = axes.boxplot(
            np.clip(result["contraction"].values.T, -0.5, 1),
            orientation="horizontal",
            patch_artist=True,
            showfliers=False,
            whis=(5, 95),
            medianprops={"color": "black"},
        )
        for box, name in zip(boxes["boxes"], names, strict=True):
            box.set_facecolor(OTHER if is_auxiliary(name) else FULL)
        axes.set_yticks(range(1, len(names) + 1), [_annotated(result, n) for n in names])
        axes.invert_yaxis()
        axes.set_xlabel("contraction (0: the prior, 1: certain); box: half, line: 90 %")
        return f"The data inform {weakest} least"


def _annotated(result: xr.Dataset, name: str) -> str:
    if "kl" not in result:
        return name
    return f"{name} (KL {float(result['kl'].sel(latent=name).median()):.1f} nats)"
