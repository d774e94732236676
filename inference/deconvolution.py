"""Deconvolution: the mixture whose convolution with each observation's uncertainty explains all.

What an observation says of its latents is a normal likelihood, known by its precision (nought where
it says nothing) and its pull. The mixture of largest marginal likelihood is found by EM, its number
of components by cross-validation: one more has to gain more than its standard error.
Source: Bovy, Hogg & Roweis (2011), Extreme deconvolution, here in information form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from groundvae.models.wrapped import WrappedMixture, whole_turns

MOST = 6  # components tried
ROUNDS, STILL = 200, 1e-4  # of EM at most; nats an observation that are no gain
FOLDS = 4  # of the observations, each left out once to choose the number of components
FEWEST = 5  # observations for each number of a component's mean and spread
FEW = 12  # places, beyond which a few normals cannot follow the shape of a population
NEIGHBOURS, SHRUNK = 8, 0.1  # whose scatter shapes a local normal; by which it is multiplied
RIDGE = 1e-3  # of the spread of all, the least of a component's


@dataclass(frozen=True)
class Likelihoods:
    """Normal likelihoods of n observations: ``exp(-u' precision u / 2 + pull' u)`` of u (place,).

    ``precision`` (n, place, place), not negative; ``pull`` (n, place); ``centre`` (n, place), about
    where each lies under the prior; ``periods`` (place,) as of a ``WrappedMixture``.
    """

    precision: Tensor
    pull: Tensor
    centre: Tensor
    periods: Tensor

    def __len__(self) -> int:
        return len(self.pull)

    def __getitem__(self, rows: Tensor) -> Likelihoods:
        return replace(
            self, precision=self.precision[rows], pull=self.pull[rows], centre=self.centre[rows]
        )


def deconvolve(likelihoods: Likelihoods, seed: int = 0) -> WrappedMixture:
    """The mixture of latents in the population.

    >>> noisy = torch.linspace(-2, 2, 200, dtype=torch.float64).view(-1, 1)
    >>> one = torch.ones(200, 1, 1, dtype=torch.float64)
    >>> sharp = Likelihoods(1e4 * one, 1e4 * noisy, noisy, torch.tensor([math.inf]).double())
    >>> found = deconvolve(sharp)
    >>> bool(((found.weights @ found.means).abs() < 0.05).all())
    True
    """
    if likelihoods.pull.shape[1] > FEW and len(likelihoods) > NEIGHBOURS:
        return local(likelihoods)
    most = min(MOST, len(likelihoods) // (FEWEST * (1 + likelihoods.pull.shape[1])))
    best = 1
    score = _left_out(likelihoods, best, seed) if most > 1 else likelihoods.pull.new_zeros(0)
    for components in range(2, most + 1):
        found = _left_out(likelihoods, components, seed)
        gain = found - score
        if float(gain.mean()) > float(gain.std()) / math.sqrt(len(gain)):
            best, score = components, found
        elif components > best + 1:
            break
    return _learn(likelihoods, best, seed)


def local(likelihoods: Likelihoods) -> WrappedMixture:
    """A normal about each observation's posterior, stretched along its nearest neighbours.

    One step of EM from the prior, smoothed: it follows what no few normals do (a tone is a thin
    curve among the weights of all frequencies), and holds the observations' uncertainty besides.
    Source: Vincent & Bengio (2003), Manifold Parzen windows.
    """
    periods, centre = likelihoods.periods, likelihoods.centre
    off = centre - centre.unsqueeze(1)  # (n, other, place)
    turned = torch.remainder(off + periods / 2, periods) - periods / 2
    off = torch.where(periods.isfinite(), turned, off)
    scaled = (off / _spread(centre).sqrt()).norm(dim=-1)
    nearest = scaled.argsort(1)[:, 1 : 1 + NEIGHBOURS]
    near = off.gather(1, nearest.unsqueeze(-1).expand(-1, -1, off.shape[-1]))
    scatter = torch.einsum("nkd,nke->nde", near, near) / NEIGHBOURS
    posterior = torch.linalg.inv(likelihoods.precision + torch.diag(1.0 * periods.isinf()))
    equal = torch.full((len(centre),), 1 / len(centre), dtype=centre.dtype)
    return WrappedMixture(equal, centre, SHRUNK * scatter + posterior, periods)


def _left_out(likelihoods: Likelihoods, components: int, seed: int) -> Tensor:
    """Log evidence (n,) of each observation under the mixture of the other folds."""
    order = torch.as_tensor(np.random.default_rng(seed).permutation(len(likelihoods)))
    found = likelihoods.pull.new_empty(len(likelihoods))
    for fold in range(FOLDS):
        apart = order[fold::FOLDS]
        rest = torch.cat([order[i::FOLDS] for i in range(FOLDS) if i != fold])
        mixture = _learn(likelihoods[rest], components, seed)
        found[apart] = _posterior(mixture, likelihoods[apart])[2].logsumexp((1, 2))
    return found


def _learn(likelihoods: Likelihoods, components: int, seed: int) -> WrappedMixture:
    """EM from k-means of the centres."""
    mixture = _start(likelihoods, components, seed)
    floor = RIDGE * torch.diag(_spread(likelihoods.centre))
    before = -math.inf
    for _ in range(ROUNDS):
        mixture, reached = _step(mixture, likelihoods, floor)
        if reached < before + STILL:
            break
        before = reached
    return mixture


def _start(likelihoods: Likelihoods, components: int, seed: int) -> WrappedMixture:
    centre = likelihoods.centre
    spread = _spread(centre)
    scaled = (centre / spread.sqrt()).numpy()
    _, label = kmeans2(scaled, components, minit="++", seed=seed)
    member = torch.nn.functional.one_hot(torch.as_tensor(label).long(), components).to(centre)
    count = member.sum(0).clamp(min=1.0)
    means = member.T @ centre / count.unsqueeze(-1)
    whole = torch.diag(spread).expand(components, -1, -1)
    return WrappedMixture(count / count.sum(), means, whole.clone(), likelihoods.periods)


def _spread(centre: Tensor) -> Tensor:
    """Variances (place,) of all centres, kept above nought."""
    return centre.var(0).clamp(min=1e-8) if len(centre) > 1 else torch.ones_like(centre[0])


def _step(
    mixture: WrappedMixture, likelihoods: Likelihoods, floor: Tensor
) -> tuple[WrappedMixture, float]:
    """One round of EM, and the mean log evidence before it."""
    covariance, mean, log_share = _posterior(mixture, likelihoods)
    total = log_share.logsumexp((1, 2), keepdim=True)
    share = (log_share - total).exp()  # (n, component, turn)
    mass = share.sum((0, 2)).clamp(min=1e-9)
    means = torch.einsum("nkt,nktd->kd", share, mean) / mass.unsqueeze(-1)
    off = mean - means.unsqueeze(1)
    scatter = torch.einsum("nktd,nkte->kde", share.unsqueeze(-1) * off, off)
    scatter = scatter + torch.einsum("nk,nkde->kde", share.sum(-1), covariance)
    # One observation's worth of a small spread: a component of one observation stays a normal.
    wide = (scatter + floor) / (mass.view(-1, 1, 1) + 1.0) + floor
    found = WrappedMixture(mass / mass.sum(), mixture.wrapped(means), wide, mixture.periods)
    return found, float(total.mean())


def _posterior(mixture: WrappedMixture, likelihoods: Likelihoods) -> tuple[Tensor, Tensor, Tensor]:
    """Of each observation under each component, moved by each number of whole periods.

    Covariance (n, component, place, place), mean (n, component, turn, place), and log of weight
    times evidence (n, component, turn), but for what no mixture changes.
    """
    turns = whole_turns(likelihoods.periods)
    inverse = torch.linalg.inv(mixture.covariances)
    factor = torch.linalg.cholesky(likelihoods.precision.unsqueeze(1) + inverse)
    covariance = torch.cholesky_inverse(factor)
    turned = torch.einsum("nde,te->ntd", likelihoods.precision, turns)
    own = (inverse @ mixture.means.unsqueeze(-1)).squeeze(-1)
    pull = (likelihoods.pull.unsqueeze(1) + turned).unsqueeze(1) + own.unsqueeze(1)
    mean = pull @ covariance
    # A likelihood moved by s: its value at the origin falls by s'(pull + precision s / 2).
    moved = (turns * (likelihoods.pull.unsqueeze(1) + 0.5 * turned)).sum(-1)
    volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    prior = (own * mixture.means).sum(-1) + torch.logdet(mixture.covariances)
    whole = mixture.weights.log() - 0.5 * prior - volume
    return covariance, mean, whole.unsqueeze(-1) + 0.5 * (mean * pull).sum(-1) - moved.unsqueeze(1)
