"""Re-estimate: the physics latents again, with the residual switched off."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.diagnostics.score import circular_difference, circular_mean
from groundvae.diagnostics.style import BAND, FULL, PHYSICS, headline, house_style, labelled
from groundvae.diagnostics.verdict import FEWEST, Verdict, grade, too_few, worded
from groundvae.models.greybox import GreyBox

OBSERVATIONS = 200  # fitted; more say the same and take longer
ROUNDS = 25
STEP = 1e-2  # of the finite differences, unconstrained
DAMPING = 1e-2  # to begin with, of the curvature
GOOD, DOUBTFUL = 0.1, 0.5  # prior standard deviations, median


def fit_physics(
    model: GreyBox, batch: Batch, start: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Physics latents (observation,) with which physics alone fits each observation best.

    Least squares within the priors' supports from ``start``, each observation by itself, by the
    method of Levenberg (1944) and Marquardt (1963) in unconstrained space. What the data do not
    say stays where it starts.
    """
    spec = model.latents
    size = model.system.auxiliary

    def residual(u: Tensor) -> Tensor:
        """(..., observation, sample) of u (..., observation, latent)."""
        values, _ = spec.constrain(u)
        auxiliary = u.new_zeros(*u.shape[:-1], size) if size else None
        alone = model.system.decode(values, auxiliary, batch.inputs).physics
        assert alone is not None
        off = alone - batch.x
        if batch.observed is not None:
            off = off.masked_fill(~batch.observed, 0.0)
        return off.flatten(u.dim() - 1)

    with torch.no_grad():
        values = {k: torch.as_tensor(v).to(batch.x) for k, v in start.items()}
        u = _minimize(residual, spec.unconstrain(values))
        found, _ = spec.constrain(u)
    return {k: v.cpu().numpy() for k, v in found.items()}


def _minimize(residual: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
    """Where the sum of squares (observation,) of ``residual`` is least, from u."""
    off = residual(u)
    steps = STEP * torch.eye(u.shape[1]).to(u)
    damping = torch.full_like(u[:, :1], DAMPING)
    for _ in range(ROUNDS):
        slope = (residual(u + steps[:, None]) - off) / STEP  # (latent, observation, sample)
        curvature = torch.einsum("pnd,qnd->npq", slope, slope)
        size = curvature.diagonal(dim1=-2, dim2=-1)
        floor = 1e-6 * size.sum(-1, keepdim=True) + 1e-12  # directions that data say nothing of
        damped = curvature + torch.diag_embed(damping * size + floor)
        down = torch.einsum("pnd,nd->np", slope, off)
        step = torch.linalg.solve(damped, -down)
        step = step / step.norm(dim=1, keepdim=True).clamp(min=1.0)
        tried = residual(u + step)
        better = (tried**2).sum(-1, keepdim=True) < (off**2).sum(-1, keepdim=True)
        u, off = torch.where(better, u + step, u), torch.where(better, tried, off)
        damping = torch.where(better, damping / 4, damping * 4).clamp(1e-8, 1e8)
    return u


def central_draws(draws: np.ndarray, period: float | None) -> np.ndarray:
    """The draw (observation,) of each latent that is nearest to its mean: where a fit starts.

    >>> central_draws(np.array([[0.0], [1.0], [5.0]]), None)
    array([1.])
    """
    centre = draws.mean(axis=0) if period is None else circular_mean(draws, period)
    off = draws - centre if period is None else circular_difference(draws, centre, period)
    return np.asarray(np.take_along_axis(draws, np.abs(off).argmin(axis=0)[None], axis=0)[0])


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
    centre = circular_mean(draws, period)
    spread = circular_difference(draws, centre, period).std(axis=0)
    return circular_difference(moved, centre, period), spread


def check_physics_only_refit(result: xr.Dataset) -> list[Verdict]:
    """One verdict for each physics latent."""
    return [_check_one(result.sel(latent=n), str(n)) for n in result["latent"].values]


def _check_one(latent: xr.Dataset, name: str) -> Verdict:
    n, title = latent.sizes["observation"], f"residual off: {name}"
    if n < FEWEST:
        return too_few(title, n, FEWEST, GOOD)
    value = float(abs(latent["of_prior"]).median())
    level = grade(value, GOOD, DOUBTFUL)
    own = float(abs(latent["of_posterior"]).median())
    moves = f"this latent moves {value:.2g} of its prior's and {own:.2g} of its posterior's "
    moves = f"Without the residual {moves}standard deviations (medians): "
    meaning = moves + worded(
        level,
        good="conclusions that bear such a shift do not depend on the residual.",
        doubtful="its answer rests on the residual being right, so compare runs with another one "
        "before relying on it.",
        bad="physics alone and the whole model disagree about it; do not interpret it before "
        "runs with other residuals agree.",
    )
    return Verdict(title, level, meaning, value, GOOD, n)


def plot_physics_only_refit(result: xr.Dataset) -> Figure:
    """Distribution of the shift of each latent, with the widths of posterior and prior."""
    names = [str(n) for n in result["latent"].values]
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with house_style():
        figure, grid = plt.subplots(
            rows, columns, figsize=(max(5.2, 3.1 * columns), 2.6 * rows + 0.8), squeeze=False
        )
        for axes, name in zip(grid.flat, names, strict=False):
            _draw_one(axes, result.sel(latent=name), name)
        for axes in grid.flat[len(names) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel("observations")
        far = abs(result["of_posterior"]).median("observation")
        finding = ", ".join(f"{n} by {float(far.sel(latent=n)):.2g}" for n in names[:3])
        headline(
            figure,
            f"Switching the residual off moves {finding} posterior sd (median)\n"
            "(grey: ±2 posterior sd, dashed: ±1 prior sd)",
        )
    return figure


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
