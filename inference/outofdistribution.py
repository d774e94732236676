"""Out of distribution: which observations are unlike those that a run was fitted and validated on.

Two scores, since each is blind to something: the negative log predictive density (densities can
be high for simple but strange data, Nalisnick et al. 2019) and the Mahalanobis distance of the
encoder's features (blind to what the encoder ignores; Lee et al. 2018). Thresholds are
conformal (Laxhammar & Falkman 2010): the features' moments come from training data, the
thresholds from validation data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyro
import torch
import xarray as xr
from pyro import poutine
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.guide import Guide, log_prob_of
from groundvae.inference.importance import iwae
from groundvae.models.greybox import GreyBox, site_value
from groundvae.physics.errors import tolerant

SCORES = ("surprise", "feature_distance")
"""``surprise``: negative IWAE bound of log p(x), nats a sample that is there."""
RATE = 0.01
"""Share of ordinary observations that may be marked, by either score."""
FEWEST = 20
"""Validation observations below which nothing is marked."""
DRAWS = 20
MOST, VALUES = 1000, 2_000_000  # observations, and samples, searched and decoded at once
RIDGE = 1e-3  # of the mean variance: features that hardly vary must not decide


@dataclass(frozen=True)
class OutOfDistributionReference:
    """What a run remembers of the data it knows: moments of features, scores of known ones.

    ``centre`` (feature,) and ``whitening`` (feature, feature) of training observations,
    ``surprise`` and ``feature_distance`` (validation observation,).
    """

    centre: Tensor
    whitening: Tensor
    surprise: Tensor
    feature_distance: Tensor

    def known(self) -> dict[str, np.ndarray]:
        """Scores of the validation observations, by name."""
        return {name: getattr(self, name).numpy() for name in SCORES}


def learn_reference(
    model: GreyBox, guide: Guide, train: Batch, valid: Batch, found: object = None
) -> OutOfDistributionReference:
    """Learn what is ordinary, after a fit; ``found``: of ``valid`` by the guide, where at hand."""
    seen = features(guide, train)
    complete = ~seen.isnan().any(1)
    centre, whitening = _moments(seen[complete] if complete.any() else seen.nan_to_num())
    distance = _distance(features(guide, valid), centre, whitening)
    surprise = measure_surprise(model, guide, valid, found)
    return OutOfDistributionReference(centre, whitening, surprise, distance)


def score_observations(
    ood_reference: OutOfDistributionReference,
    model: GreyBox,
    guide: Guide,
    batch: Batch,
    surprise: Tensor | None = None,
) -> dict[str, np.ndarray]:
    """Both scores (observation,) of a batch; larger is stranger, NaN is none.

    ``surprise``: where it is known already.
    """
    distance = _distance(features(guide, batch), ood_reference.centre, ood_reference.whitening)
    if surprise is None:
        surprise = measure_surprise(model, guide, batch)
    return {"surprise": surprise.numpy(), "feature_distance": distance.numpy()}


@torch.no_grad()
def features(guide: Guide, batch: Batch) -> Tensor:
    """What the guide's encoder reads of a batch, (observation, feature), on the cpu.

    NaN where samples are missing: features of what filled them in are no observation's.
    """
    encoder = guide.encoder
    found = encoder.describe(encoder.read(batch)).double()
    if batch.observed is not None:
        seen = batch.observed.flatten(2).all(-1) if batch.x.dim() > 2 else batch.observed
        if batch.timed is not None:  # what pads a shorter series is no gap
            seen = seen | ~batch.timed
        found = found.masked_fill(~seen.flatten(1).all(1, keepdim=True), torch.nan)
    return found.cpu()


def measure_surprise(model: GreyBox, guide: Guide, batch: Batch, found: object = None) -> Tensor:
    """``surprise_of`` some observations at a time, (observation,); ``found``: of all of them."""
    size = max(1, min(MOST, VALUES // batch.x[0].numel()))
    if found is not None and len(batch) <= size:
        return surprise_of(model, guide, batch, found)
    chunks = [batch[i : i + size] for i in range(0, len(batch), size)]
    return torch.cat([surprise_of(model, guide, c, guide.examine(c)) for c in chunks])


@torch.no_grad()
def surprise_of(model: GreyBox, guide: Guide, batch: Batch, found: object) -> Tensor:
    """Negative IWAE bound of ``DRAWS`` draws over the number of samples seen, (observation,).

    ``found``: what the guide has found when it examined the batch.
    """
    with torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(0)
        bounds = _bound(model, guide, batch, found)
    surprise = -bounds / batch.samples.clamp(min=1).double().cpu()
    return surprise.nan_to_num(nan=math.inf)  # what the model cannot even decode is strange


def _bound(model: GreyBox, guide: Guide, batch: Batch, found: object) -> Tensor:
    with pyro.plate("draw", DRAWS, dim=-2):
        drawn = poutine.trace(guide).get_trace(batch, found)
    latents = {name: site_value(drawn, name) for name in model.latent_names}
    world = poutine.condition(model, data=latents)
    with tolerant(), pyro.plate("draw", DRAWS, dim=-2):
        decoded = poutine.trace(world).get_trace(batch, reduced=False)
    weight = log_prob_of(decoded, batch) - log_prob_of(drawn, batch)
    weight = weight.nan_to_num(nan=-math.inf)  # a draw that the model cannot decode has no weight
    return torch.as_tensor(iwae(weight.expand(DRAWS, len(batch)).double().cpu().numpy()))


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and the inverse of the Cholesky factor of the covariance, of (observation, feature)."""
    centre = values.mean(0)
    off = values - centre
    covariance = off.T @ off / max(len(values) - 1, 1)
    ridge = RIDGE * covariance.diagonal().mean() + 1e-12
    identity = torch.eye(len(covariance), dtype=values.dtype)
    factor = torch.linalg.cholesky(covariance + ridge * identity)
    return centre, torch.linalg.solve_triangular(factor, identity, upper=False).contiguous()


def _distance(values: Tensor, centre: Tensor, whitening: Tensor) -> Tensor:
    distance: Tensor = ((values - centre) @ whitening.T).norm(dim=1)
    return distance


def conformal_threshold(known: np.ndarray, rate: float) -> tuple[float, float]:
    """The score above which a new one is strange, and the rate at which ordinary ones are.

    Of exchangeable scores, one to come lies above the k-th smallest of n with a probability of
    at most ``(n + 1 - k) / (n + 1)``. Where n is too small for ``rate`` the largest known score
    is taken, and the rate is higher; below ``FEWEST`` known scores the threshold is infinite.

    >>> conformal_threshold(np.arange(99.0), 0.05)
    (94.0, 0.05)
    >>> conformal_threshold(np.arange(24.0), 0.01)
    (23.0, 0.04)
    """
    ordered = np.sort(known[~np.isnan(known)])
    n = len(ordered)
    if n < FEWEST:
        return math.inf, 0.0
    rank = min(math.ceil((1 - rate) * (n + 1) - 1e-9), n)
    return float(ordered[rank - 1]), (n + 1 - rank) / (n + 1)


def thresholds(known: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Threshold and rate of each score; together they mark at most ``RATE`` where n allows."""
    return {name: conformal_threshold(v, RATE / len(known)) for name, v in known.items()}


def mark(scores: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]) -> xr.Dataset:
    """The scores and ``out_of_distribution`` (observation,): is any beyond its threshold?

    Each score carries its ``threshold``, the ``rate`` at which ordinary observations are beyond
    it, and the number of ``known`` scores behind both, as attributes. No score, no mark.

    >>> known = {"surprise": np.arange(500.0)}
    >>> mark({"surprise": np.array([250.0, 999.0, np.nan])}, known)["out_of_distribution"].values
    array([False,  True, False])
    """
    variables, out_of_distribution = {}, np.zeros(len(next(iter(scores.values()))), dtype=bool)
    for name, (threshold, rate) in thresholds({k: known[k] for k in scores}).items():
        n = int((~np.isnan(known[name])).sum())
        attrs = {"threshold": threshold, "rate": rate, "known": n}
        variables[name] = xr.Variable(("observation",), scores[name], attrs)
        out_of_distribution |= scores[name] > threshold
    variables["out_of_distribution"] = xr.Variable(("observation",), out_of_distribution)
    return xr.Dataset(variables)
