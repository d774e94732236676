"""A model near one point: what it gives, and how that moves with every latent, exactly.

For laws of motion with residuals that are linear in weights, by the tangents of the solver's own
steps (``physics.tangents``); for everything else by forward-mode differentiation of the decoder,
all directions at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from groundvae.data.batch import Batch
from groundvae.models.dynamics import Dynamics
from groundvae.models.greybox import GreyBox
from groundvae.models.normalscore import NormalScore
from groundvae.models.path import Linearization, along, latents_of, solved
from groundvae.models.rates import values_of
from groundvae.models.residuals.linear import LinearResidual
from groundvae.models.values import Values
from groundvae.physics.errors import tolerant
from groundvae.physics.rungekutta import FixedStep
from groundvae.physics.solver import stepped

MANY = 64  # states, beyond which a law alone is not solved by maps of each step


@torch.no_grad()
def linearize(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch
) -> Linearization:
    """The model at points ``at`` (n, latent): normal scores of the physics, then ``z_aux``.

    Observations whose path leaves the finite numbers come back as NaN; the others are as they are.
    """
    method = fixed_step(model)
    if method is None:
        return _forward(model, scores, at, batch)
    return _by_tangents(model, scores, at, batch, method)


def fixed_step(model: GreyBox) -> FixedStep | None:
    """The solver, where the path and its tangents can be made step by step."""
    system = model.system
    if not isinstance(system, Dynamics):
        return None
    if not model.auxiliary and sum(system.sizes.values()) > MANY:
        return None  # a pass for each latent is then less than maps from all states to all
    if not all(isinstance(r, LinearResidual) and not r.outside for r in model.residuals):
        return None
    solver = stepped(system.method)
    return solver if isinstance(solver, FixedStep) else None


@torch.no_grad()
def states_of(model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch) -> Values:
    """The states (n, time), on a grid (n, time, size), of a law of motion at points (n, latent).

    NaN where a path leaves the finite numbers.
    """
    system = model.system
    assert isinstance(system, Dynamics)
    known = Values(batch.inputs, "input")
    z = values_of(model, latents_of(scores, at[:, : len(scores)])[0])
    pushes = model.bound(z, at[:, len(scores) :], known, system.stages(known))
    with tolerant():
        path = system.trajectory(z, known, pushes, torch.Size([len(at)]), 1)
    return system.named(path.squeeze(0))


def seen_at_samples(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch
) -> Values:
    """What residuals see at the samples: the states of ``states_of``, and inputs beside them."""
    system = model.system
    assert isinstance(system, Dynamics)
    states = states_of(model, scores, at, batch)
    return system.known.beside(states, system.known.at_samples(Values(batch.inputs, "input")))


def _forward(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch
) -> Linearization:
    n, size = at.shape
    count = len(scores)
    u, slope = latents_of(scores, at[:, :count])
    point = torch.cat([u, at[:, count:]], -1)
    stretch = torch.cat([slope, torch.ones_like(at[:, count:])], -1)
    directions = torch.diag_embed(stretch).movedim(-1, 0)  # (latent, n, latent)
    with tolerant(), forward_ad.dual_level():
        dual = forward_ad.make_dual(point.expand(size, n, size).clone(), directions.clone())
        auxiliary = dual[..., count:] if model.auxiliary else None
        decoded = model.decode(
            values_of(model, dual[..., :count]), auxiliary, batch.inputs, reduced=False
        )
        mean, tangent = forward_ad.unpack_dual(decoded.full)
    if tangent is None:
        tangent = torch.zeros_like(mean)
    jacobian = tangent.flatten(2).permute(1, 2, 0).contiguous()
    return Linearization(mean[0], jacobian)


def _by_tangents(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch, solver: FixedStep
) -> Linearization:
    return along(solved(model, scores, at, batch, solver), model, scores, at, batch).found
