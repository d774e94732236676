"""Residual off: the physics latents fitted again, with the residual switched off.

How far each moves says on what its answer rests. Misleads: the residual may be right to move a
latent; a shift of many posterior standard deviations under "good" still means that intervals
leave out what a wrong residual would do. Sources: Brynjarsdottir & O'Hagan (2014) for why; Branch,
Coleman & Li (1999) for the search (``scipy.optimize.least_squares``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from scipy.optimize import least_squares
from scipy.sparse import block_diag, csr_array
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.diagnostics.check import (
    GROUNDED,
    PHYSICS_LATENTS,
    RESIDUAL,
    Check,
    by_latent,
    registered,
)
from groundvae.diagnostics.context import Context, physics_alone
from groundvae.diagnostics.latents import names_of
from groundvae.diagnostics.style import BAND, FULL, PHYSICS, labelled, panels
from groundvae.diagnostics.verdict import Level
from groundvae.models.circle import cut_open, difference, mean_direction
from groundvae.models.greybox import GreyBox

OBSERVATIONS = 200  # fitted; more say the same and take longer
LEAPS, REACH = 4, 2.0
"""How often and how far (unconstrained) a latent may move: beyond lie other minima, which a step
that suits all the other observations would jump to."""
OUTSIDE = 2.0  # posterior standard deviations, beyond which an interval does not hold a shift
STEP = 1e-2  # of the finite differences, unconstrained
SEARCH = {"tr_solver": "lsmr", "ftol": 1e-6, "xtol": 1e-6, "max_nfev": 20}


def fit_physics(
    model: GreyBox, batch: Batch, start: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Physics latents (observation,) with which physics alone fits each observation best.

    Least squares within the priors' supports from ``start`` (observation,), in unconstrained
    space. What the data do not say stays where it starts.
    """
    values = {k: torch.as_tensor(v).to(batch.x) for k, v in start.items()}
    with torch.no_grad():
        search = _Residual(model, batch, model.latents.unconstrain(values))
        flat = search.first.double().cpu().numpy().ravel()
        for _ in range(LEAPS):
            bounds = (flat - REACH, flat + REACH)
            found = least_squares(search, flat, search.slope, bounds, **SEARCH)
            arrived = np.abs(found.x - flat).max() < 0.9 * REACH
            flat = found.x
            if arrived:
                break
        best, _ = model.latents.constrain(search.at(flat))
    return {k: v.cpu().numpy() for k, v in best.items()}


class _Residual:
    """Physics alone less the data, of flat unconstrained latents, and its Jacobian.

    Each observation's residual comes in the basis of its Jacobian, and what is left of it as one
    number: the sum of squares and its slope are the same, of a few numbers instead of all samples.
    """

    def __init__(self, model: GreyBox, batch: Batch, first: Tensor) -> None:
        self.model, self.batch, self.first = model, batch, first
        self.steps = STEP * torch.eye(first.shape[1]).to(first)
        self.last, self.factors = np.empty(0), np.empty(0)

    def at(self, flat: np.ndarray) -> Tensor:
        """As (observation, latent)."""
        return torch.as_tensor(flat).to(self.first).view_as(self.first)

    def __call__(self, flat: np.ndarray) -> np.ndarray:
        u = self.at(flat)
        values, _ = self.model.latents.constrain(torch.cat([u[None], u + self.steps[:, None]]))
        off = physics_alone(self.model, values, self.batch) - self.batch.x
        if self.batch.observed is not None:
            off = off.masked_fill(~self.batch.observed, 0.0)
        off = off.flatten(2).double().cpu()  # (1 + latent, observation, sample)
        basis, factors = torch.linalg.qr(((off[1:] - off[0]) / STEP).permute(1, 2, 0))
        along = torch.einsum("nsp,ns->np", basis, off[0])
        left = (off[0].pow(2).sum(1) - along.pow(2).sum(1)).clamp(min=0).sqrt()
        self.last = flat.copy()
        self.factors = torch.nn.functional.pad(factors, (0, 0, 0, 1)).numpy()
        return torch.cat([along, left[:, None]], 1).numpy().ravel()

    def slope(self, flat: np.ndarray) -> csr_array:
        """The Jacobian, with one block an observation."""
        if not np.array_equal(flat, self.last):
            self(flat)
        return csr_array(block_diag(list(self.factors)))


def central_draws(draws: np.ndarray, period: float | None) -> np.ndarray:
    """The draw (observation,) of each latent that is nearest to its mean: where a fit starts.

    >>> central_draws(np.array([[0.0], [1.0], [5.0]]), None)
    array([1.])
    """
    lifted = draws if period is None else cut_open(draws, period)
    nearest = np.abs(lifted - lifted.mean(axis=0)).argmin(axis=0)[None]
    return np.asarray(np.take_along_axis(draws, nearest, axis=0)[0])


def compute_physics_only_refit(
    draws: Mapping[str, np.ndarray],
    moved: Mapping[str, np.ndarray],
    prior_variance: Mapping[str, float],
    periods: Mapping[str, float] | None = None,
    units: Mapping[str, str] | None = None,
) -> xr.Dataset:
    """How far each latent moves, (latent, observation).

    ``draws`` (draw, observation) under the whole model, ``moved`` (observation,) without the
    residual. ``shift`` = moved - posterior mean in the latent's unit, ``of_prior`` in prior and
    ``of_posterior`` in posterior standard deviations.

    >>> draws = {"omega": np.array([[1.0], [3.0]])}
    >>> found = compute_physics_only_refit(draws, {"omega": np.array([4.0])}, {"omega": 16.0})
    >>> found["shift"].item(), found["of_prior"].item(), found["of_posterior"].item()
    (2.0, 0.5, 2.0)
    """
    names = list(moved)
    parts = [_shift(draws[n], moved[n], (periods or {}).get(n)) for n in names]
    shift, spread = np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])
    before = np.sqrt(np.maximum([[prior_variance[n]] for n in names], 1e-24))
    variables = {
        "shift": shift,
        "of_prior": shift / before,
        "of_posterior": np.divide(shift, spread, out=np.full_like(shift, np.nan), where=spread > 0),
    }
    dims = ("latent", "observation")
    result = xr.Dataset({k: (dims, v) for k, v in variables.items()}, {"latent": names})
    return result.assign_coords(unit=("latent", [(units or {}).get(n, "") for n in names]))


def _shift(
    draws: np.ndarray, moved: np.ndarray, period: float | None
) -> tuple[np.ndarray, np.ndarray]:
    if period is None:
        return moved - draws.mean(axis=0), draws.std(axis=0)
    centre = mean_direction(draws, period)
    spread = difference(draws, centre, period).std(axis=0)
    return difference(moved, centre, period), spread


@registered
class PhysicsOnlyRefit(Check):
    """Whether each physics latent stays where it is when the residual is switched off."""

    name, title, subject = "physics_only_refit", "Residual off", "residual off: {of}"
    alternative = (
        "Histogram of how far each physics latent moves when the residual is switched off."
    )
    caption = (
        "Physics alone is fitted to each observation, starting from the posterior. A shift far "
        "outside the grey means that the posterior does not allow for a wrong residual."
    )
    needs = (GROUNDED, RESIDUAL, PHYSICS_LATENTS)
    good, doubtful = 0.1, 0.5  # prior standard deviations, median
    sentences = {
        "good": "{moves}conclusions that bear such a shift do not depend on the residual.",
        "outside": "{moves}little beside what was known before the data, but outside the "
        "intervals: these rest on the residual being right.",
        "doubtful": "{moves}its answer rests on the residual being right, so compare runs with "
        "another one before relying on it.",
        "bad": "{moves}physics alone and the whole model disagree about it; do not interpret it "
        "before runs with other residuals agree.",
    }
    metric_words = {
        "{latent}_residual_off_shift": "how far it moves without the residual, median, {unit}",
        "{latent}_residual_off_sd": "the same, in posterior standard deviations",
    }

    def compute(self, context: Context) -> xr.Dataset:
        few, periods = slice(0, OBSERVATIONS), context.periods
        posterior = context.inference_data["posterior"]  # on the priors' supports, not unwrapped
        draws = {k: np.concatenate(posterior[k].values)[:, few] for k in context.latents.names}
        start = {k: central_draws(v, periods.get(k)) for k, v in draws.items()}
        moved = fit_physics(context.run.model, context.batch[few], start)
        return compute_physics_only_refit(
            draws, moved, context.prior_variance, periods, context.units
        )

    def value(self, part: xr.Dataset) -> float:
        return float(abs(part["of_prior"]).median())

    def case(self, part: xr.Dataset, level: Level) -> str:
        return "outside" if level == "good" and self._own(part) > OUTSIDE else level

    def _own(self, part: xr.Dataset) -> float:
        """How many posterior standard deviations it moves, median."""
        return float(abs(part["of_posterior"]).median())

    def words(self, part: xr.Dataset) -> dict[str, object]:
        own = self._own(part)
        moves = f"this latent moves {self.value(part):.2g} of its prior's and {own:.2g} of its "
        moves += "posterior's standard deviations (medians): "
        return {"moves": f"Without the residual {moves}"}

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        shift, own = abs(result["shift"]), abs(result["of_posterior"])
        return by_latent(shift, "residual_off_shift") | by_latent(own, "residual_off_sd")

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        return panels(result.sizes["latent"], (3.1, 2.6), (0, 0.8))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = names_of(result)
        for axes, name in zip(grid.flat, names, strict=False):
            _draw_one(axes, result.sel(latent=name), name)
        for row in grid:
            row[0].set_ylabel("observations")
        some = [result.sel(latent=n) for n in names[:3]]
        moves = ", ".join(f"{n} by {self.value(v):.2g}" for n, v in zip(names, some, strict=False))
        own = ", ".join(f"{self._own(v):.2g}" for v in some)
        return (
            f"Without the residual latents move, in prior sd: {moves}\n"
            f"(in posterior sd: {own}; grey: ±2 of these, dashed: ±1 prior sd)"
        )


def _draw_one(axes: Axes, latent: xr.Dataset, name: str) -> None:
    shift = latent["shift"].values
    prior, posterior = (_unit_of(shift, latent[k].values) for k in ("of_prior", "of_posterior"))
    end = 1.15 * max(float(np.abs(shift).max()), 1e-12)
    axes.hist(shift, bins=np.linspace(-end, end, 41).tolist(), color=FULL)
    if posterior:
        axes.axvspan(-2 * posterior, 2 * posterior, color=BAND, alpha=0.35, lw=0, zorder=0)
    for side in (-prior, prior):
        if abs(side) < end:
            axes.axvline(side, color=PHYSICS, ls="--", lw=1)
    axes.set_xlim(-end, end)
    axes.set_xlabel(labelled(f"shift of {name}", str(latent["unit"].item())))


def _unit_of(shift: np.ndarray, scaled: np.ndarray) -> float:
    """The standard deviation in which ``scaled`` comes (median); 0 where there is none."""
    kept = np.isfinite(scaled) & (scaled != 0)
    return float(np.median(shift[kept] / scaled[kept])) if kept.any() else 0.0
