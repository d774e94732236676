"""A model near one point: what it gives, and how that moves with every latent, exactly.

For laws of motion with residuals that are linear in more weights than there are states, by the
tangents of the solver's own steps (``physics.tangents``); for everything else by forward-mode
differentiation of the decoder, all directions at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from groundvae.data.batch import Batch
from groundvae.models.dynamics import Dynamics
from groundvae.models.greybox import GreyBox
from groundvae.models.normalscore import NormalScore
from groundvae.models.rates import Rates, rows_of, values_of
from groundvae.models.residuals.linear import LinearResidual
from groundvae.models.values import Values
from groundvae.physics.clock import own_step_grid, step_grid
from groundvae.physics.errors import tolerant
from groundvae.physics.rungekutta import FixedStep
from groundvae.physics.solver import ParallelAdjoint
from groundvae.physics.tangents import sensitivities


@dataclass(frozen=True)
class Linearization:
    """A model near latents of n observations.

    ``mean`` (n, *event); ``jacobian`` (n, value, latent), by normal scores of the physics latents
    and by ``z_aux``.
    """

    mean: Tensor
    jacobian: Tensor


@torch.no_grad()
def linearize(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch
) -> Linearization:
    """The model at points ``at`` (n, latent): normal scores of the physics, then ``z_aux``.

    Observations whose path leaves the finite numbers come back as NaN; the others are as they are.
    """
    method = _fixed_step(model, batch)
    if method is None:
        return _forward(model, scores, at, batch)
    return _by_tangents(model, scores, at, batch, method)


def _fixed_step(model: GreyBox, batch: Batch) -> FixedStep | None:
    """The solver, where the path and its tangents can be made step by step."""
    system = model.system
    if not isinstance(system, Dynamics) or system.signals:
        return None
    if len(model.latents) + model.auxiliary <= sum(system.sizes.values()):
        return None  # a pass for each latent is then less than one for each state
    if not all(isinstance(r, LinearResidual) and not r.outside for r in model.residuals):
        return None
    solver = system.method
    if isinstance(solver, ParallelAdjoint):
        solver = solver.solver
    return solver if isinstance(solver, FixedStep) else None


@torch.no_grad()
def states_of(model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch) -> Values:
    """The states (n, time), on a grid (n, time, size), of a law of motion at points (n, latent).

    NaN where a path leaves the finite numbers.
    """
    system = model.system
    assert isinstance(system, Dynamics)
    known = Values(batch.inputs, "input")
    z = values_of(model, values(scores, at[:, : len(scores)])[0])
    pushes = model.bound(z, at[:, len(scores) :], known, system.stages(known))
    with tolerant():
        path = system.trajectory(z, known, pushes, torch.Size([len(at)]), 1)
    return system.named(path.squeeze(0))


def values(scores: Sequence[NormalScore], u: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (n, physics) of scores (n, physics), and their slopes."""
    if not scores:
        return u, u
    with torch.enable_grad():
        leaf = u.detach().requires_grad_()
        found = torch.stack([s.value(c) for s, c in zip(scores, leaf.unbind(-1), strict=True)], -1)
        (slope,) = torch.autograd.grad(found.sum(), leaf)
    return found.detach(), slope


def _forward(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch
) -> Linearization:
    n, size = at.shape
    count = len(scores)
    u, slope = values(scores, at[:, :count])
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
    system = model.system
    assert isinstance(system, Dynamics)
    count = len(scores)
    latents, slope = values(scores, at[:, :count])
    known = Values(batch.inputs, "input")
    times = system.released(known["t"])
    dense = system.dense(times)
    stepped = times if dense is None else dense.grid
    path, grid, requested = _path(model, latents, at[:, count:], known, solver, stepped)
    lost = ~torch.isfinite(path).all(-1).all(0)
    path = path.masked_fill(lost.view(1, -1, 1), 0.0)
    rates = Rates(model, latents, slope, at[:, count:], known)
    begin = rates.begin()
    moved = sensitivities(path, grid, begin, rates.field, rates.jacobians, solver, rates.timed())
    size = batch.inputs["t"].shape[-1]
    samples = _samples(requested, size)
    if dense is None:
        states = path[samples].movedim(0, 1)
    else:
        states = dense(path, rates.field(grid[:, None], path))[-size:].movedim(0, 1)
    mean, rows = _observed(system, values_of(model, latents), states, known)
    seen = rows.flatten(0, 2).any(0).nonzero().squeeze(-1)  # most laws show a state as it is
    if dense is None:
        by_raw = moved[..., seen, :][samples].movedim(0, 1)
    else:
        slopes = _slopes(rates, grid, path, moved)[..., seen, :]
        by_raw = dense(moved[..., seen, :], slopes)[-size:].movedim(0, 1)
    rows = rows[..., seen]
    jacobian = rows * by_raw if len(seen) == 1 else rows @ by_raw
    jacobian = jacobian.flatten(1, 2)
    jacobian = rates.stretched(jacobian)
    mean = mean.masked_fill(lost.view(-1, *[1] * (mean.dim() - 1)), torch.nan)
    return Linearization(mean, jacobian)


def _slopes(rates: Rates, grid: Tensor, path: Tensor, moved: Tensor) -> Tensor:
    """How ``moved`` (step + 1, n, d, parameter) changes with time, at all times of a grid."""
    own, push = rates.jacobians(grid[:, None], path)
    timed = rates.timed()
    if timed is not None:
        features = timed.features(grid)
        block = push.new_zeros(*push.shape[:-1], features.shape[-1])
        block[..., timed.rows, :] = features.unsqueeze(1)
        push = torch.cat([push, block], -1)
    return own @ moved + push


def _path(
    model: GreyBox,
    latents: Tensor,
    auxiliary: Tensor,
    known: Values,
    solver: FixedStep,
    times: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """States (step + 1, n, d) on the solver's own grid, and where in it the ``times`` stand.

    The grid is (step + 1,) and the places (time,), or (step + 1, n) and (n, time) where times are
    of each observation's own.
    """
    system = model.system
    assert isinstance(system, Dynamics)
    z, own = values_of(model, latents), times.dim() > 1
    stages = None if own else solver.stage_times(times)
    bound = model.bound(z, auxiliary, known, stages=stages)
    start = system.begin(z, known, torch.Size([len(auxiliary)])).unsqueeze(0)
    field = system.field(z, known, bound, None)
    grid, requested = (own_step_grid if own else step_grid)(times, solver.step)
    states = (solver.own_path if own else solver)(field, start, grid)
    return states.squeeze(1), grid.T if own else grid, requested


def _samples(requested: Tensor, count: int) -> Tensor | tuple[Tensor, Tensor]:
    """An index of a path (step + 1, n, ...) that gives the last ``count`` times, (time, n, ...)."""
    if requested.dim() == 1:
        return requested[-count:]
    return requested.T[-count:], torch.arange(len(requested), device=requested.device)


def _observed(system: Dynamics, z: Values, states: Tensor, known: Values) -> tuple[Tensor, Tensor]:
    """What is observed of states (n, time, d), and its derivatives (n, time, channel, d) by them.

    What is observed at a time depends on the states at that time.
    """
    with torch.enable_grad():
        leaf = states.detach().requires_grad_()
        seen = system.observe(system.named(leaf), z.with_axes(1 + system.on_grid), known)
        channels = seen.unsqueeze(-1) if seen.dim() == leaf.dim() - 1 else seen
    (rows,) = rows_of(channels, [leaf])
    return seen.detach(), rows
