"""Leaning: whether pushes that are taken to differ in sign are alike in all observations.

The population of a push as a function of time is centred at nothing: one observation is pushed up,
another down. What acts alike in all (an enzyme that is inhibited, a loss that is never a gain) is
then held to be smaller than it is, and the physics make up for the rest. Near the posteriors the
model is linear: whitened weights ``w ~ N(0, I)`` have means ``m`` of mean zero and covariance
``T``, what the data tell of them. With ``S = I + sum T`` the mean that they would rather have is
``mu = S^-1 sum m``, and ``sum m . mu`` is at most a chi-squared variable, where they are as taken.
Under that mean a latent would be elsewhere, by ``cov(latent, w) mu``.
Source: Rasmussen & Williams (2006), Gaussian processes for machine learning, section 2.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.stats import chi2
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.follow import parts_of
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.search import Search
from groundvae.models.greybox import GreyBox
from groundvae.models.normalscore import NormalScore


@dataclass(frozen=True)
class Leaning:
    """What pushes have in common.

    Attributes:
        chance: the probability of as much in common, where they are centred at nothing.
        moves: of each physics latent, by how many of its posterior's standard deviations it would
            move (root mean square over observations) if the population had the mean that was found.

    """

    chance: float
    moves: dict[str, float]


@torch.no_grad()
def leaning(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch, count: int
) -> Leaning:
    """What the pushes of some observations have in common, and what hangs on it.

    Args:
        model: fitted, with residuals that push by functions of time.
        scores: of its physics latents.
        at: the middles of posteriors (n, latent), normal scores of the physics, then ``z_aux``.
        batch: what they are posteriors of, n observations.
        count: of all observations; what all share is moved by each of them.

    """
    linear = Search(model, scores, batch, at).linear()
    pushed = torch.cat([part.push for part in parts_of(model)])
    told, mean = linear.information(pushed).double(), linear.mean[:, pushed].double()
    unit = torch.eye(len(pushed)).to(told)
    common = torch.linalg.solve(unit + told.sum(0), mean.sum(0))
    chance = float(chi2.sf(float(mean.sum(0) @ common), len(pushed))) if len(pushed) else 1.0
    physics = len(scores)
    moves = _moves(linear, model, pushed, common, count)
    size = moves.square().mean(0).sqrt().tolist()
    return Leaning(chance, dict(zip(model.latents.names, size[:physics], strict=True)))


def _moves(
    linear: LinearGaussian, model: GreyBox, pushed: Tensor, common: Tensor, count: int
) -> Tensor:
    """Of each physics latent (n, physics), in standard deviations of its posterior.

    What one observation says moves what all share by as much, so that these add up; the others
    follow what is shared.
    """
    covariance = linear.covariance().double()
    physics = len(model.latents)
    sd = covariance.diagonal(dim1=1, dim2=2)[:, :physics].sqrt()
    moves = (covariance[:, :physics, pushed] @ common) / sd
    shared = [i for i, z in enumerate(model.latents) if z.shared]
    for i in shared:
        whole = count * moves[:, i].mean()
        with_it = covariance[:, :physics, i] / (sd * sd[:, i, None])  # correlations
        own = [k for k in range(physics) if k not in shared]
        moves[:, own] += with_it[:, own] * whole
        moves[:, i] = whole
    return moves
