"""Leaning: whether what is taken to differ by chance is alike in all, or goes with a latent.

The population of a push as a function of time is centred at nothing: one observation is pushed up,
another down. What acts alike in all (an enzyme that is inhibited, a loss that is never a gain) is
then held to be smaller than it is, and the physics make up for the rest. Weights of features of the
states are taken to be independent of the physics latents: what is as strong as the law's own force
(a gap in a spring, friction under a load) is held to be as usual in the stiff and in the slack.
Near the posteriors the model is linear: whitened weights ``w ~ N(0, I)`` have means ``m`` of mean
zero and covariance ``T``, what the data tell of them. For a regressor ``g`` of each observation,
which is one or a latent, and ``S = I + sum g^2 T``, the slope that they would rather have is
``c = S^-1 sum g m``; ``sum g m . c`` is a sum of chi-squared variables, where they are as taken.
Under that slope a latent would be elsewhere, by ``cov(latent, w) c g``.
Sources: Mundlak (1978), On the pooling of time series and cross section data, for effects that go
with what they are taken to be independent of; Satterthwaite (1946) for sums of such variables;
Rasmussen & Williams (2006), Gaussian processes for machine learning, section 2.7.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import chi2
from torch import Tensor

from groundvae.guides.follow import parts_of
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.search import Search
from groundvae.models.greybox import GreyBox


@dataclass(frozen=True)
class Leaning:
    """What pushes have in common, or how weights go with a latent.

    Attributes:
        chance: the probability of as much, where they are as they are taken to be.
        moves: of each physics latent, by how many of its posterior's standard deviations it would
            move (root mean square over observations) if the population were as was found.

    """

    chance: float
    moves: dict[str, float]


@torch.no_grad()
def leaning(search: Search, count: int) -> Leaning:
    """What the pushes of some observations have in common, and what hangs on it.

    Args:
        search: of a fitted model whose residuals push by functions of time, at the middles of n
            posteriors.
        count: of all observations; what all share is moved by each of them.

    """
    pushed = torch.cat([part.push for part in parts_of(search.model)])
    ones = torch.ones(len(search.at), dtype=torch.double)
    return along(search.linear(), search.model, pushed, ones, count)


@torch.no_grad()
def correlated_effects(search: Search, count: int) -> dict[str, Leaning]:
    """How weights of features of the states go with each latent that is an observation's own.

    Arguments as of ``leaning``, of a model with residuals that see states.
    """
    linear = search.linear()
    seen = torch.cat([part.seen for part in parts_of(search.model)])
    found = {}
    for i, latent in enumerate(search.model.latents):
        if not latent.shared:
            own = linear.mean[:, i].double()
            standing = (own - own.mean()) / own.std().clamp(min=1e-12)
            found[latent.name] = along(linear, search.model, seen, standing, count)
    return found


def along(
    linear: LinearGaussian, model: GreyBox, columns: Tensor, regressor: Tensor, count: int
) -> Leaning:
    """How weights at ``columns`` go with a ``regressor`` (n,); ``count`` as of ``leaning``."""
    told, mean = linear.information(columns).double(), linear.mean[:, columns].double()
    regressor = regressor.to(mean).unsqueeze(-1)
    known = (regressor.unsqueeze(-1) ** 2 * told).sum(0)
    whole = known + torch.eye(len(columns)).to(known)
    towards = (regressor * mean).sum(0)
    slope = torch.linalg.solve(whole, towards)
    shares = torch.linalg.solve(whole, known)  # of each chi-squared variable
    total, square = float(shares.trace()), float((shares @ shares).trace())
    size = float(towards @ slope)
    chance = float(chi2.sf(size * total / square, total**2 / square)) if square else 1.0
    moves = _moves(linear, model, columns, slope * regressor, count)
    spread = moves.square().mean(0).sqrt().tolist()
    return Leaning(chance, dict(zip(model.latents.names, spread, strict=True)))


def _moves(
    linear: LinearGaussian, model: GreyBox, columns: Tensor, shift: Tensor, count: int
) -> Tensor:
    """Of each physics latent (n, physics), in standard deviations of its posterior.

    Weights at ``columns`` are moved by a ``shift`` (n, weight). What one observation says moves
    what all share by as much, so that these add up; the others follow what is shared.
    """
    covariance = linear.covariance().double()
    physics = len(model.latents)
    sd = covariance.diagonal(dim1=1, dim2=2)[:, :physics].sqrt()
    moves = (covariance[:, :physics, columns] @ shift.unsqueeze(-1)).squeeze(-1) / sd
    shared = [i for i, z in enumerate(model.latents) if z.shared]
    for i in shared:
        whole = count * moves[:, i].mean()
        with_it = covariance[:, :physics, i] / (sd * sd[:, i, None])  # correlations
        own = [k for k in range(physics) if k not in shared]
        moves[:, own] += with_it[:, own] * whole
        moves[:, i] = whole
    return moves
