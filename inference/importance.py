"""Importance weights: other priors without a refit, and how far to trust the result.

Draws from a guide (or from the posterior under another prior) are reweighted, observation by
observation, with Pareto-smoothed weights, and resampled. The shape k-hat of the weights' tail
says where that is reliable: above 0.7 it is not.
Source: Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from pyro.distributions import TorchDistribution
from scipy.special import logsumexp

from groundvae.data.errors import InputError
from groundvae.inference import arviz as az
from groundvae.inference.inferencedata import assembled

if TYPE_CHECKING:
    from groundvae.inference.run import Run

UNRELIABLE = 0.7
FEWEST = 5  # draws whose weights have a tail
ENOUGH = 50  # equally weighted draws
EQUAL = 0.1  # nats within which weights are the same: a tail of such has a shape, and no say
ANNEALED = "annealed"
"""Of ``constant_data``: whose draws were carried on (``annealed.py``); begins further names."""
DRAW_GROUPS = (
    "posterior",
    "posterior_predictive",
    "physics_predictive",
    "log_likelihood",
    "residuals",
)


def smooth(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalized log weights and k-hat of each observation; ``log_weights`` (draw, observation).

    >>> _, k = smooth(np.zeros((100, 3)))
    >>> k.shape
    (3,)
    """
    total = logsumexp(log_weights, axis=0)
    if np.isneginf(total).any():
        where = int(np.isneginf(total).argmax())
        raise InputError(
            f"no draw of observation {where} has any weight, expected priors that overlap with the "
            "posterior; others need a refit"
        )
    raw = log_weights - total
    if len(raw) < FEWEST:
        return raw, np.full(raw.shape[1], np.inf)
    with np.errstate(invalid="ignore"):
        smoothed, k_hat = az.psislw(log_weights.T)
    # Weights that tie, such as those of a prior cut off, have no tail to fit a shape to: they
    # are as they are, and reliable if enough draws carry them.
    equal = np.ptp(log_weights, axis=0) < EQUAL
    smoothed, k_hat = np.where(equal[:, None], raw.T, smoothed), np.where(equal, 0.0, k_hat)
    tied = ~np.isfinite(k_hat) | ~np.isfinite(smoothed).any(axis=-1)
    k_tied = np.where(effective_size(raw) >= ENOUGH, 0.0, np.inf)
    return np.where(tied, raw, smoothed.T), np.where(tied, k_tied, k_hat)


def effective_size(log_weights: np.ndarray) -> np.ndarray:
    """Number of equally weighted draws worth as much, (observation,)."""
    weights = np.exp(log_weights - log_weights.max(axis=0))
    return np.asarray(weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0))


def iwae(log_weights: np.ndarray) -> np.ndarray:
    """Importance-weighted bound of log p(x), (observation,), of log weights (draw, observation).

    It tightens with draws. Source: Burda, Grosse & Salakhutdinov (2016), eq. 8.

    >>> iwae(np.zeros((4, 1)))
    array([0.])
    """
    return np.asarray(logsumexp(log_weights, axis=0) - np.log(len(log_weights)))


def prior_ratio(
    run: Run, priors: Mapping[str, TorchDistribution], posterior: xr.Dataset
) -> np.ndarray:
    """Log new prior - log old prior of the draws, (draw, observation)."""
    spec = run.model.latents
    swapped = spec.with_priors(priors)
    ratios = [
        _log_density(new.prior, draws) - _log_density(old.prior, draws)
        for old, new in zip(spec, swapped.latents, strict=True)
        if old.name in priors
        for draws in [torch.as_tensor(np.concatenate(posterior[old.name].values))]
    ]
    return torch.stack(ratios).sum(0).numpy()


def _log_density(prior: TorchDistribution, values: torch.Tensor) -> torch.Tensor:
    """Log prior, and minus infinity outside its support, where torch would refuse."""
    assert prior.support is not None
    inside = prior.support.check(values)
    anywhere_inside = torch.where(inside, values, prior.sample())
    return prior.log_prob(anywhere_inside).masked_fill(~inside, -torch.inf)


def guide_ratio(inference_data: az.InferenceData) -> np.ndarray:
    """Log p(x, z) - log q(z | x) of the draws, (draw, observation): what makes them exact.

    Raises:
        InputError: not every draw was decoded, and so has no weight.

    """
    log_weight = np.concatenate(inference_data["sample_stats"]["log_weight"].values)
    draws = inference_data["posterior"].sizes["draw"]
    if len(log_weight) != draws:
        raise InputError(
            f"{len(log_weight)} of {draws} draws have a weight, expected all: decode as many as "
            "are drawn"
        )
    return log_weight.astype(float)


def resample(
    inference_data: az.InferenceData, log_weights: np.ndarray, *, seed: int
) -> az.InferenceData:
    """Draws taken again in proportion to their weights, each observation by its own.

    The groups that hold draws keep their sizes; one with fewer draws than there are weights
    uses the weights of its own. The new group ``importance`` holds ``k_hat`` and
    ``effective_size`` (observation,); ``proposal`` holds the draws of the latents as they were
    and their ``log_weight`` (chain, draw, observation), smoothed and normalized.
    """
    smoothed, k_hat = smooth(log_weights)
    known = inference_data["constant_data"] if "constant_data" in inference_data.groups() else {}
    if ANNEALED in known:  # draws that weigh the same by now: what brought them here counts too
        k_hat = np.fmax(k_hat, known[f"{ANNEALED}_k_hat"].values)
    rng = np.random.default_rng(seed)
    groups = {name: inference_data[name] for name in inference_data.groups()}
    for name in DRAW_GROUPS:
        if name in groups:
            groups[name] = _resampled(groups[name], smoothed, rng)
    stats = {
        "k_hat": ("observation", k_hat),
        "effective_size": ("observation", effective_size(smoothed)),
    }
    proposal = inference_data["posterior"]
    weight = xr.Variable(("chain", "draw", "observation"), smoothed[None])
    groups["proposal"] = proposal.assign(log_weight=weight)
    coords = {"observation": proposal["observation"]}
    groups["importance"] = xr.Dataset(stats, coords)
    return assembled(groups, inference_data.attrs)


def _resampled(group: xr.Dataset, log_weights: np.ndarray, rng: np.random.Generator) -> xr.Dataset:
    """Systematic resampling: the fewest repetitions that the weights allow."""
    n = group.sizes["draw"]
    weights = np.exp(log_weights[:n] - log_weights[:n].max(axis=0))
    cumulative = np.cumsum(weights, axis=0) / weights.sum(axis=0)
    points = (np.arange(n) + rng.random()) / n
    picks = np.stack([np.searchsorted(c, points) for c in cumulative.T], axis=1).clip(0, n - 1)
    index = xr.DataArray(picks, dims=("draw", "observation"))
    observations = xr.DataArray(np.arange(picks.shape[1]), dims="observation")
    taken = group.isel(draw=index, observation=observations)
    return taken.assign_coords(draw=group["draw"]).transpose("chain", "draw", ...)
