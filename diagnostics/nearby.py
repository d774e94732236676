"""A model near the posteriors of some observations, where it is linear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.diagnostics.check import LeftOutError
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.style import choose
from groundvae.guides.search import Search
from groundvae.inference.inferencedata import WEIGHTS
from groundvae.models.greybox import AUXILIARY
from groundvae.models.normalscore import NormalScore

OBSERVATIONS = 100  # looked at
MOST = 1500  # samples of an observation


@dataclass(frozen=True)
class Linear:
    """A model near n posteriors, in whitened samples and standard normal latents.

    ``jacobian`` (n, sample, latent), ``residual`` (n, sample) at ``at`` (n, latent);
    ``places`` (sample, axis) within 0 .. 1.
    """

    jacobian: np.ndarray
    residual: np.ndarray
    at: np.ndarray
    places: np.ndarray


@dataclass(frozen=True)
class Near:
    """Some of the observations: ``batch``, and the middles ``at`` (n, latent) of their posteriors.

    ``physics`` (draw, n, physics): normal scores of their draws, by ``scores``.
    """

    batch: Batch
    scores: list[NormalScore]
    at: Tensor
    physics: Tensor

    def __getitem__(self, rows: slice) -> Near:
        return Near(self.batch[rows], self.scores, self.at[rows], self.physics[:, rows])


def near_posteriors(context: Context) -> Near:
    """Some observations, and where their posteriors are.

    Raises:
        LeftOutError: the observations are too large.

    """
    data, model = context.inference_data, context.run.model
    n, samples = len(context.x), context.x[0].size
    if samples > MOST:
        raise LeftOutError(f"observations of {samples} samples are more than {MOST}")
    picked = choose(n, OBSERVATIONS)
    like = model.noise.log_scale
    hyper = context.run.guide.population.centres()
    scores = [NormalScore(z.prior_like(like, hyper)) for z in context.latents]
    posterior = data["posterior"]
    drawn = [
        score.score(torch.as_tensor(np.concatenate(posterior[z.name].values)[:, picked]).to(like))
        for z, score in zip(context.latents, scores, strict=True)
    ]
    physics = torch.stack(drawn, -1)
    centre = [physics.mean(0)]
    if model.auxiliary:
        group = WEIGHTS if WEIGHTS in data else "posterior"
        weights = np.concatenate(data[group][AUXILIARY].values)[:, picked].mean(0)
        centre.append(torch.as_tensor(weights).to(like).reshape(len(picked), -1))
    batch = context.batch[torch.as_tensor(picked)]
    return Near(batch, scores, torch.cat(centre, -1), physics)


def search_near(context: Context) -> Search:
    """A search that stands at these posteriors, for ``Context.once``.

    Raises:
        LeftOutError: the observations are too large.

    """
    near = context.once(near_posteriors)
    return Search(context.run.model, near.scores, near.batch, near.at)


def linear_of(context: Context) -> tuple[Linear, np.ndarray]:
    """The model near the posteriors of some observations, and their stated widths.

    Raises:
        LeftOutError: the observations are too large, or their latents are not at hand.

    """
    near, search = context.once(near_posteriors), context.once(search_near)
    linear = search.linear()
    jacobian, residual = linear.jacobian, linear.residual
    usable = search.alive & torch.isfinite(jacobian).all(2).all(1) & torch.isfinite(residual).all(1)
    usable &= torch.isfinite(near.physics).all(0).all(-1)
    if not usable.any():
        raise LeftOutError("no posterior has a finite linearization")
    told = [each[usable].double().cpu().numpy() for each in (jacobian, residual, near.at)]
    found = Linear(told[0], told[1], told[2], _places(context))
    return found, near.physics.std(0)[usable].cpu().numpy()


def _places(context: Context) -> np.ndarray:
    """Where each sample is, (sample, axis), along each axis from 0 to 1."""
    shape = context.x.shape[1:]
    axes = [np.linspace(0, 1, size) if size > 1 else np.zeros(1) for size in shape]
    return np.stack([grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")], -1)
