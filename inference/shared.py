"""Shared latents: one value for all observations, from what each of them says by itself.

Each observation has a normal posterior over its own copy of them, in normal scores; what it says
beyond its prior are that posterior's information and its prior's, subtracted. The sum over
observations, with the prior, is the posterior of one value for all. Each is then fitted again with
what the others say for its prior (on average: a share of one in n is its own), so linearizations
move to where the value is. Exact for laws that are linear in their latents.
Source: Minka (2001), Expectation propagation for approximate Bayesian inference; Gelman et al.
(2020), Expectation propagation as a way of life, section 3.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.inference.run import Run
from groundvae.models.narrowed import Narrowed
from groundvae.models.prior import format_priors

SWEEPS = 2  # fits that only tell what is shared, before the one that counts


def check_shared(run: Run) -> None:
    """Refuse a guide that has no posterior of each observation by itself, and shared circles.

    Raises:
        InputError: a latent is shared, and the guide has no normals of it, or it is an angle, of
            which there is no one line for all observations.

    """
    shared = [z.name for z in run.model.latents if z.shared]
    if shared and not run.guide.shares:
        raise InputError(
            f"{shared[0]} is shared by all observations, which is inferred by evidence, expected "
            "the guide 'modes' and an Unknown residual"
        )
    angles = [z.name for z in run.model.latents if z.shared and z.circular]
    if angles:
        raise InputError(
            f"{angles[0]} is shared by all observations and lives on a circle, expected a prior on "
            "less than the whole circle"
        )


@torch.no_grad()
def agree(run: Run, batch: Batch) -> None:
    """Narrow the priors of the shared latents of a fitted run to what its observations agree on."""
    shared = [i for i, z in enumerate(run.model.latents) if z.shared]
    mean, scale = _consensus(*run.guide.normals(batch), shared)
    spec, priors = run.model.latents, {}
    for i, at, spread in zip(shared, mean.tolist(), scale.tolist(), strict=True):
        latent = list(spec)[i]
        prior = latent.prior
        if isinstance(prior, Narrowed):  # of what was known before
            prior, at, spread = prior.base, prior.shift + prior.scale * at, prior.scale * spread
        priors[latent.name] = Narrowed(prior, at, spread)
    run.model.with_priors(priors)
    run.guide.latents = run.model.latents
    written = format_priors({z.name: z.prior for z in run.model.latents})
    run.config = replace(run.config, priors=written, model=run.model.written())


def _consensus(
    means: Tensor, covariances: Tensor, found: Tensor, shared: list[int]
) -> tuple[Tensor, Tensor]:
    """Mean and spread (shared,) of the scores that all observations but one would agree on."""
    found = found if bool(found.any()) else torch.ones_like(found)
    centre = means[found][:, shared]
    told = torch.linalg.inv(covariances[found][:, shared][:, :, shared])
    unit = torch.eye(len(shared), dtype=told.dtype)
    said = (told - unit).sum(0)
    toward = (told @ centre.unsqueeze(-1)).squeeze(-1).sum(0)
    others = 1 - 1 / len(centre)
    value, vector = torch.linalg.eigh(unit + others * said)
    whole = (vector / value.clamp(min=1.0)) @ vector.mT
    return whole @ (others * toward), whole.diagonal().sqrt()
