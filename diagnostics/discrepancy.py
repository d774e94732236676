"""Discrepancy: if what is left in the residuals were also along a latent, would its interval hold?

Nobody sees an error of the model in the directions in which its latents can make up for it. But
it leaves a trace in the others. Near each posterior the model is linear, ``y = A z + noise``; a
discrepancy ``D = b K`` is added to the covariance of what was observed, white or smooth along the
axes, and its size ``b`` is learned from all observations: a distribution over sizes, since one may
be pushed hard and another hardly. What the same discrepancy does to each latent, through the gain
of its own estimate, gives the share of truths that the stated intervals can be expected to hold.
Misleads: an error that looks exactly like a latent leaves no trace at all; where the model is far
from linear near a posterior the expectation is rough. Sources: Kennedy & O'Hagan (2001);
Brynjarsdottir & O'Hagan (2014); Laird (1978) for the distribution of sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import logsumexp
from scipy.stats import norm

from groundvae.diagnostics.check import PHYSICS_LATENTS, Check, by_latent, registered
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.nearby import Linear, linear_of
from groundvae.diagnostics.style import BAND, FULL, choose, panels
from groundvae.diagnostics.verdict import Level
from groundvae.models.narrowed import declared

SEEN = 100  # samples of an observation that sizes are learned from
LENGTHS = (0.02, 0.05, 0.1, 0.2, 0.4)  # of a smooth discrepancy, in units of each axis
SMALLER = (-0.75, -0.5, -0.25)  # white ones: the noise is smaller than was thought
SIZES = np.concatenate([[0.0], np.logspace(-2, 4, 19)])  # variances, in units of the noise's
ROUNDS = 60
GAIN = 6.0  # nats in all, below which a discrepancy is none
LEVEL = 0.9
HELD = {"good": (0.82, 0.985), "doubtful": (0.76, 0.995)}


def compute_discrepancy(linear: Linear, stated: np.ndarray) -> xr.Dataset:
    """Share that stated 90 % intervals can be expected to hold, (latent, observation).

    ``stated`` (n, physics): standard deviations of the draws, in standard normal latents; their
    means are ``linear.at``. ``error`` (latent, observation): the one to be expected, in standard
    deviations of the prior; ``width`` the stated one over it.
    Attributes: the ``size`` of the discrepancy in units of the noise (root mean square), the share
    of it that is ``smooth``, and by how many ``nats`` it is likelier than none.

    >>> rng = np.random.default_rng(0)
    >>> a = np.broadcast_to(np.linspace(0, 1, 30)[:, None], (60, 30, 1))
    >>> z = rng.normal(size=(60, 1))
    >>> y = (a @ z[..., None])[..., 0] + rng.normal(size=(60, 30))
    >>> sd = 1 / np.sqrt(1 + (a[0] ** 2).sum())
    >>> at = sd**2 * (a * y[..., None]).sum(1)
    >>> off = y - (a @ at[..., None])[..., 0]
    >>> near = Linear(a, off, at, np.linspace(0, 1, 30)[:, None])
    >>> round(float(compute_discrepancy(near, np.full((60, 1), sd))["held"].mean()), 1)
    0.9
    """
    a, count = linear.jacobian, stated.shape[1]
    some = choose(a.shape[1], SEEN)
    y = linear.residual + np.einsum("nsl,nl->ns", a, linear.at)
    shapes = _learned(a[:, some], y[:, some], linear.places[some])
    covariance = np.linalg.inv(np.eye(a.shape[2]) + np.einsum("nsi,nsj->nij", a, a))
    gain = np.einsum("nsi,nij->nsj", a, covariance)[..., :count]
    off = linear.at[:, :count] - np.einsum("nsj,ns->nj", gain, y)
    own = np.einsum("njj->nj", covariance)[:, :count]
    half = norm.ppf(0.5 + LEVEL / 2) * stated
    held, square = np.zeros_like(own), off**2
    for shape in shapes.found:
        kernel = _kernel(linear.places, shape.length)
        through = np.einsum("nsj,st,ntj->nj", gain, kernel, gain, optimize=True)
        variance = np.maximum(own[..., None] + through[..., None] * shape.sizes, 1e-300)
        ends = ((off + side * half)[..., None] / np.sqrt(variance) for side in (1, -1))
        high, low = (norm.cdf(end) for end in ends)
        held += ((high - low) * shape.weights[:, None]).sum(-1)
        square += (variance * shape.weights[:, None]).sum(-1)
    dims, error = ("latent", "observation"), np.sqrt(square)
    variables = {"held": held.T, "width": (stated / error).T, "error": error.T}
    attrs = {"size": shapes.size, "smooth": shapes.smooth, "nats": shapes.nats}
    return xr.Dataset({k: (dims, v) for k, v in variables.items()}, attrs=attrs)


@dataclass
class _Shape:
    """A discrepancy of one ``length`` (0: white): the ``sizes`` tried, their weights (n, size)."""

    length: float
    sizes: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class _Shapes:
    """The likeliest distribution over shapes and sizes, and its gain over none, nats in all."""

    found: list[_Shape]
    nats: float

    @property
    def size(self) -> float:
        """Root mean square, in units of the noise."""
        total = sum((s.weights * s.sizes).sum(1).mean() for s in self.found)
        return float(np.sqrt(abs(total)))

    @property
    def smooth(self) -> float:
        """The share of it that is smooth."""
        parts = {s.length: (s.weights * np.maximum(s.sizes, 0)).sum() for s in self.found}
        total = sum(parts.values())
        return float(1 - parts.get(0.0, 0.0) / total) if total > 0 else 0.0


def _learned(a: np.ndarray, y: np.ndarray, places: np.ndarray) -> _Shapes:
    """How likely each shape and size is, in each observation: a distribution over all, by EM."""
    unit = np.eye(a.shape[1])
    factor = np.linalg.cholesky(unit + a @ np.swapaxes(a, 1, 2))
    inverse = np.linalg.solve(factor, np.broadcast_to(unit, factor.shape))
    white = np.einsum("nst,nt->ns", inverse, y)
    shapes = []
    for length in (0.0, *LENGTHS):
        sizes = np.concatenate([SMALLER, SIZES]) if length == 0 else SIZES[1:]
        inner = inverse @ _kernel(places, length) @ np.swapaxes(inverse, 1, 2)
        values, vectors = np.linalg.eigh(inner)
        square = np.einsum("nst,ns->nt", vectors, white) ** 2
        scale = np.maximum(1 + values[..., None] * sizes, 1e-9)
        log = -0.5 * (np.log(scale) + square[..., None] / scale).sum(1)
        shapes.append(_Shape(length, sizes, log))
    log = np.concatenate([s.weights for s in shapes], 1)
    weights, total = _mixed(log)
    none = log[:, len(SMALLER)]  # no discrepancy at all
    nats = total - float(none.sum())
    if nats < GAIN:  # chance gives as much to one of so many
        return _Shapes([_Shape(0.0, np.zeros(1), np.ones((len(y), 1)))], nats)
    ends = np.cumsum([len(s.sizes) for s in shapes])[:-1]
    for shape, part in zip(shapes, np.split(weights, ends, axis=1), strict=True):
        shape.weights = part
    return _Shapes(shapes, nats)


def _mixed(log: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (n, kind) of the likeliest distribution over kinds, by EM, and its log likelihood."""
    share = np.full(log.shape[1], 1 / log.shape[1])
    for _ in range(ROUNDS):
        joint = log + np.log(np.maximum(share, 1e-300))
        total = logsumexp(joint, axis=1, keepdims=True)
        weights = np.exp(joint - total)
        share = weights.mean(0)
    return weights, float(total.sum())


def _kernel(places: np.ndarray, length: float) -> np.ndarray:
    """Covariance (sample, sample) of a discrepancy of unit variance."""
    if length == 0:
        return np.eye(len(places))
    apart = ((places[:, None] - places) ** 2).sum(-1)
    return np.asarray(np.exp(-0.5 * apart / length**2))


def discrepancy_of(context: Context) -> xr.Dataset:
    """``compute_discrepancy`` of the whole, for ``Context.once``."""
    near, stated = linear_of(context)
    found = compute_discrepancy(near, stated).assign_coords(latent=list(context.latents.names))
    left = [declared(latent.prior)[1] for latent in context.latents]  # errors in widths of these
    return found.assign(error=found["error"] * xr.DataArray(left, dims="latent"))


@registered
class Discrepancy(Check):
    """Whether the intervals can be expected to hold, in view of what the residuals show."""

    name, title, subject = "discrepancy", "Discrepancy", "expected coverage of {of}"
    alternative = "Stated width of each latent's posterior over the width to be expected."
    caption = (
        "Left of 1 the stated intervals are too narrow for what the residuals show, right of it "
        "too wide. No truth is needed, and an error that looks exactly like a latent is not seen."
    )
    needs = (PHYSICS_LATENTS,)
    good, doubtful = 0.82, 0.76
    sentences = {
        "good": "In view of the residuals 90 % intervals can be expected to hold {percent:.0f} %.",
        "bad": "In view of the residuals 90 % intervals of {of} can be expected to hold only "
        "{percent:.0f} %: errors {kind}, {size:.2g} times the noise, would move it as well; "
        "{mend}.",
        "wide": "In view of the residuals 90 % intervals of {of} can be expected to hold "
        "{percent:.1f} %: they are wider than the data need, or the noise is smaller than was "
        "learned.",
    }
    metric_words = {"{latent}_expected_cov90": "share that 90 % intervals can be expected to hold"}

    def compute(self, context: Context) -> xr.Dataset:
        return context.once(discrepancy_of).assign_attrs(mend=context.more_room)

    def value(self, part: xr.Dataset) -> float:
        return float(part["held"].mean())

    def level(self, part: xr.Dataset, value: float) -> Level:
        inside = {k: low <= value <= high for k, (low, high) in HELD.items()}
        return "good" if inside["good"] else "doubtful" if inside["doubtful"] else "bad"

    def case(self, part: xr.Dataset, level: Level) -> str:
        return "wide" if level != "good" and self.value(part) > LEVEL else level

    def words(self, part: xr.Dataset) -> dict[str, object]:
        kind = "in a smooth pattern" if part.attrs["smooth"] > 0.5 else "like noise"
        return {"kind": kind}

    def metrics(self, result: xr.Dataset) -> dict[str, float]:
        return by_latent(result["held"].mean("observation"), "expected_cov90")

    def canvas(self, result: xr.Dataset) -> np.ndarray:
        return panels(result.sizes["latent"], (3.0, 2.4), (0, 0.6))

    def draw(self, result: xr.Dataset, grid: np.ndarray) -> str:
        names = [str(n) for n in result["latent"].values]
        for axes, name in zip(grid.flat, names, strict=False):
            width = np.clip(result["width"].sel(latent=name).values, 0.05, 20)
            axes.hist(width, bins=np.geomspace(0.05, 20, 41).tolist(), color=FULL)
            axes.axvspan(0.8, 1.25, color=BAND, alpha=0.35, lw=0, zorder=0)
            axes.set_xscale("log")
            axes.set_xlabel(f"{name}: stated over expected width")
        for row in grid:
            row[0].set_ylabel("observations")
        held = {n: 100 * float(result["held"].sel(latent=n).mean()) for n in names}
        least = min(held, key=lambda n: held[n])
        return (
            f"90 % intervals of {least} can be expected to hold {held[least]:.0f} %\n"
            "(grey: stated widths that are right within a quarter)"
        )
