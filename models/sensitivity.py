"""A model near one point: what it gives, and how that moves with every latent, exactly.

For laws of motion with residuals that are linear in their weights, by the tangents of the
solver's own steps (``physics.tangents``); for everything else by forward-mode differentiation of
the decoder, all directions at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad

from groundvae.data.batch import Batch
from groundvae.models.dynamics import Dynamics
from groundvae.models.greybox import GreyBox
from groundvae.models.normalscore import NormalScore
from groundvae.models.residuals.linear import LinearResidual
from groundvae.models.solvers import solver_of
from groundvae.models.values import Values
from groundvae.physics.rungekutta import FixedStep
from groundvae.physics.solver import ParallelAdjoint, step_grid
from groundvae.physics.tangents import Timed, sensitivities


@dataclass(frozen=True)
class Linearization:
    """A model near latents of n observations.

    ``mean`` (n, *event); ``jacobian`` (n, value, latent), by normal scores of the physics latents
    and by ``z_aux``; ``states`` (n, time, d) where there are any.
    """

    mean: Tensor
    jacobian: Tensor
    states: Tensor | None = None


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
    if not isinstance(system, Dynamics) or batch.inputs["t"].dim() > 1 or system.signals:
        return None
    if not all(isinstance(r, LinearResidual) and not r.outside for r in model.residuals):
        return None
    solver = solver_of(system.solver)
    if isinstance(solver, ParallelAdjoint):
        solver = solver.solver
    return solver if isinstance(solver, FixedStep) else None


def values(scores: Sequence[NormalScore], u: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (n, physics) of scores (n, physics), and their slopes."""
    if not scores:
        return u, u
    with torch.enable_grad():
        leaf = u.detach().requires_grad_()
        found = torch.stack([s.value(c) for s, c in zip(scores, leaf.unbind(-1), strict=True)], -1)
        (slope,) = torch.autograd.grad(found.sum(), leaf)
    return found.detach(), slope


def _values(model: GreyBox, latents: Tensor) -> Values:
    """Latents (..., physics) by name."""
    return Values(dict(zip(model.latents.names, latents.unbind(-1), strict=True)), "latent")


def _forward(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch
) -> Linearization:
    n, size = at.shape
    count = len(scores)
    u, slope = values(scores, at[:, :count])
    point = torch.cat([u, at[:, count:]], -1)
    stretch = torch.cat([slope, torch.ones_like(at[:, count:])], -1)
    directions = torch.diag_embed(stretch).movedim(-1, 0)  # (latent, n, latent)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(point.expand(size, n, size).clone(), directions.clone())
        auxiliary = dual[..., count:] if model.auxiliary else None
        decoded = model.decode(
            _values(model, dual[..., :count]), auxiliary, batch.inputs, reduced=False
        )
        mean, tangent = forward_ad.unpack_dual(decoded.full)
    if tangent is None:
        tangent = torch.zeros_like(mean)
    return Linearization(mean[0], tangent.flatten(2).permute(1, 2, 0).contiguous())


def _by_tangents(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch, solver: FixedStep
) -> Linearization:
    system = model.system
    assert isinstance(system, Dynamics)
    count = len(scores)
    latents, slope = values(scores, at[:, :count])
    known = Values(batch.inputs, "input")
    path, grid, requested = _path(model, latents, at[:, count:], known, solver)
    lost = ~torch.isfinite(path).all(-1).all(0)
    path = path.masked_fill(lost.view(1, -1, 1), 0.0)
    rates = _Rates(model, latents, slope, at[:, count:], known)
    begin = rates.begin()
    moved = sensitivities(path, grid, begin, rates.field, rates.jacobians, solver, rates.timed())
    samples = requested[-batch.inputs["t"].shape[-1] :]
    states, by_raw = path[samples].movedim(0, 1), moved[samples].movedim(0, 1)
    mean, jacobian = _observed(system, _values(model, latents), states, by_raw, known)
    jacobian = rates.stretched(jacobian)
    mean = mean.masked_fill(lost.view(-1, *[1] * (mean.dim() - 1)), torch.nan)
    return Linearization(mean, jacobian, states)


def _path(
    model: GreyBox, latents: Tensor, auxiliary: Tensor, known: Values, solver: FixedStep
) -> tuple[Tensor, Tensor, Tensor]:
    """States (step + 1, n, d) on the solver's own grid, and where in it the samples stand."""
    system = model.system
    assert isinstance(system, Dynamics)
    times = system.released(known["t"])
    grid, requested = step_grid(times, solver.step)
    z = _values(model, latents)
    bound = model.bound(z, auxiliary, known, stages=solver.stage_times(times))
    start = system.begin(z, known, torch.Size([len(auxiliary)]))
    states = solver(system.field(z, known, bound, None), start.unsqueeze(0), grid)
    return states.squeeze(1), grid, requested


class _Rates:
    """Rates and their derivatives at many steps at once, for the latents of n observations."""

    def __init__(
        self, model: GreyBox, latents: Tensor, slope: Tensor, auxiliary: Tensor, known: Values
    ) -> None:
        self.model, self.latents, self.slope = model, latents, slope
        self.auxiliary, self.known = auxiliary, known
        self.residuals = [r for r in model.residuals if isinstance(r, LinearResidual)]
        self.parts = auxiliary.split([r.auxiliary for r in self.residuals], -1)
        assert isinstance(model.system, Dynamics)
        self.system = model.system
        self.bound = model.bound(Values({}, "latent"), auxiliary, known, stages=None)

    def field(self, times: Tensor, states: Tensor) -> Tensor:
        """``d state / dt`` of states (step, n, d) at times (step, 1)."""
        return self._field(_values(self.model, self.latents))(times, states)

    def _field(self, z: Values) -> Callable[[Tensor, Tensor], Tensor]:
        return self.system.field(z, self.known, self.bound, None)

    def begin(self) -> Tensor:
        """``d state / d parameter`` at the start, (n, d, parameter)."""
        leaf = self.latents.detach().requires_grad_()
        lead = torch.Size([len(leaf)])
        with torch.enable_grad():
            start = self.system.begin(_values(self.model, leaf), self.known, lead)
        rows = _rows(start, [leaf])[0]
        return torch.cat([rows, rows.new_zeros(*rows.shape[:-1], self.dense)], -1)

    @property
    def dense(self) -> int:
        """Number of weights of features of the states."""
        return sum(len(r.acts_on) * (r.count - r.timed) for r in self.residuals)

    def timed(self) -> Timed | None:
        """The features of time alone, in the rows that they act on."""
        blocks = [
            (residual, self._rows_of(name))
            for residual in self.residuals
            for name in residual.acts_on
            if residual.timed
        ]
        if not blocks:
            return None

        def features(times: Tensor) -> Tensor:
            made = []
            for i, (residual, _) in enumerate(blocks):
                found = residual.of_time(times.unsqueeze(-1)).flatten(1, -2)  # (step, size, K)
                others = [_blank(found, rows) for _, rows in blocks]
                made.append([*others[:i], found, *others[i + 1 :]])
            return torch.cat([torch.cat(column, 1) for column in made], -1)

        return Timed(torch.cat([rows for _, rows in blocks]), features)

    def _rows_of(self, name: str) -> Tensor:
        """The components of the state that a named state is."""
        sizes = self.system.sizes
        first = sum(_before(sizes, name))
        return torch.arange(first, first + sizes[name])

    def jacobians(self, times: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """By state, (step, n, d, d), and by physics latents and raw weights, (step, n, d, ...)."""
        with torch.enable_grad():
            at = states.detach().requires_grad_()
            leaf = self.latents.detach().expand(len(states), *self.latents.shape)
            leaf = leaf.clone().requires_grad_()
            rate = self._field(_values(self.model, leaf))(times, at)
        own, by_latent = _rows(rate, [at, leaf])
        return own, torch.cat([by_latent, self._features(times, states.detach())], -1)

    def _features(self, times: Tensor, states: Tensor) -> Tensor:
        """``d rate / d weight`` of features of states: themselves, in the rows they act on."""
        named = self.system.named(states)
        columns = []
        for residual in self.residuals:
            value = residual.of_states(times, named)
            value = value if self.system.on_grid else value.unsqueeze(-2)  # (step, n, size, J)
            for name in residual.acts_on:
                block = states.new_zeros(*states.shape, value.shape[-1])
                block[..., self._rows_of(name), :] = value
                columns.append(block)
        return torch.cat(columns, -1) if columns else states.new_zeros(*states.shape, 0)

    def stretched(self, jacobian: Tensor) -> Tensor:
        """From derivatives by raw parameters to those by scores and ``z_aux``."""
        count = self.slope.shape[-1]
        columns = [jacobian[..., :count] * self.slope.unsqueeze(1)]
        dense = count
        late = count + self.dense
        for residual, part in zip(self.residuals, self.parts, strict=True):
            weights = []
            for _ in residual.acts_on:
                weights.append(jacobian[..., late : late + residual.timed])
                weights.append(jacobian[..., dense : dense + residual.count - residual.timed])
                late, dense = late + residual.timed, dense + residual.count - residual.timed
            own = torch.cat(weights, -1)
            columns.append(jacobian.new_zeros(*own.shape[:-1], residual.auxiliary - own.shape[-1]))
            columns.append(own * residual.scales(part).unsqueeze(1))
        return torch.cat(columns, -1)


def _before(sizes: Mapping[str, int], name: str) -> list[int]:
    """Sizes of the states in front of one."""
    names = list(sizes)
    return [sizes[each] for each in names[: names.index(name)]]


def _blank(like: Tensor, rows: Tensor) -> Tensor:
    return like.new_zeros(len(like), len(rows), like.shape[-1])


@torch.enable_grad()
def _rows(value: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """``d value_j / d leaf`` (..., j, leaf) of values (..., j) that depend on their own row."""
    found: list[list[Tensor]] = [[] for _ in leaves]
    for component in value.unbind(-1):
        grads: Sequence[Tensor | None] = [None] * len(leaves)
        if component.requires_grad:
            grads = torch.autograd.grad(
                component.sum(), list(leaves), retain_graph=True, allow_unused=True
            )
        for kept, grad, leaf in zip(found, grads, leaves, strict=True):
            kept.append(torch.zeros_like(leaf) if grad is None else grad)
    return [torch.stack(each, -2).detach() for each in found]


def _observed(
    system: Dynamics, z: Values, states: Tensor, moved: Tensor, known: Values
) -> tuple[Tensor, Tensor]:
    """What is observed of states (n, time, d), and its derivatives (n, value, parameter).

    What is observed at a time depends on the states at that time.
    """
    with torch.enable_grad():
        leaf = states.detach().requires_grad_()
        seen = system.observe(system.named(leaf), z.with_axes(1 + system.on_grid), known)
        channels = seen.unsqueeze(-1) if seen.dim() == leaf.dim() - 1 else seen
    (rows,) = _rows(channels, [leaf])  # (n, time, channel, d)
    return seen.detach(), (rows @ moved).flatten(1, 2)
