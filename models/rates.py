"""Rates of a law and their derivatives, at all steps of a path at once, with what residuals add."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from groundvae.models.colours import dependence, sparse_rows
from groundvae.models.dynamics import Dynamics
from groundvae.models.greybox import GreyBox
from groundvae.models.residuals.linear import LinearResidual
from groundvae.models.values import Values
from groundvae.physics.tangents import Timed


class Rates:
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
        """``d state / dt`` of states (step, n, d) at times (step, 1 or n)."""
        return self._field(values_of(self.model, self.latents))(times, states)

    def _field(self, z: Values) -> Callable[[Tensor, Tensor], Tensor]:
        return self.system.field(z, self.known, self.bound)

    def begin(self) -> Tensor:
        """``d state / d parameter`` at the start, (n, d, parameter)."""
        leaf = self.latents.detach().requires_grad_()
        lead = torch.Size([len(leaf)])
        with torch.enable_grad():
            start = self.system.begin(values_of(self.model, leaf), self.known, lead)
        rows = rows_of(start, [leaf])[0]
        return torch.cat([rows, rows.new_zeros(*rows.shape[:-1], self.dense)], -1)

    @property
    def dense(self) -> int:
        """Number of weights of features of the states."""
        return sum(len(r.acts_on) * (r.count - r.timed) for r in self.residuals)

    def timed(self) -> Timed | None:
        """The features of time alone, in the rows that they act on."""
        blocks = [
            (residual, self.components(name))
            for residual in self.residuals
            for name in residual.acts_on
            if residual.timed
        ]
        if not blocks:
            return None

        def features(times: Tensor) -> Tensor:
            made = []
            for i, (residual, _) in enumerate(blocks):
                found = residual.of_time(times.unsqueeze(-1)).flatten(times.dim(), -2)
                others = [_blank(found, rows) for _, rows in blocks]  # (..., size, K)
                made.append([*others[:i], found, *others[i + 1 :]])
            return torch.cat([torch.cat(column, -2) for column in made], -1)

        return Timed(torch.cat([rows for _, rows in blocks]), features)

    def components(self, name: str) -> Tensor:
        """The components of the state that a named state is."""
        places = torch.arange(sum(self.system.sizes.values()))
        return places[self.system.places[name]].reshape(-1)

    def jacobians(self, times: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The rate (step, n, d), and its derivatives.

        By state (step, n, d, d), and by physics latents and raw weights (step, n, d, ...).
        """
        if self.system.on_grid:
            rate, own, by_latent = self._on_grid(times, states)
            return rate, own, torch.cat([by_latent, self._features(times, states)], -1)
        with torch.enable_grad():
            at = states.detach().requires_grad_()
            leaf = self.latents.detach().expand(len(states), *self.latents.shape)
            leaf = leaf.clone().requires_grad_()
            rate = self._field(values_of(self.model, leaf))(times, at)
        own, by_latent = rows_of(rate, [at, leaf])
        by_parameter = torch.cat([by_latent, self._features(times, states.detach())], -1)
        return rate.detach(), own, by_parameter

    def _on_grid(self, times: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same of a field: rows that share no point at once, and a pass for each latent."""
        middle = len(states) // 2
        depends = dependence(self.field, times[middle], states[middle])
        with torch.enable_grad():
            at, leaf = states.detach().requires_grad_(), self.latents.detach().requires_grad_()
            rate = self._field(values_of(self.model, leaf))(times, at)
            return rate.detach(), sparse_rows(rate, at, depends), columns_of(rate, leaf)

    def _features(self, times: Tensor, states: Tensor) -> Tensor:
        """``d rate / d weight`` of features of states: themselves, in the rows they act on."""
        known = self.system.known
        named = known.beside(self.system.named(states), known.at(self.known)(times))
        columns = []
        for residual in self.residuals:
            value = residual.of_states(times, named)
            value = value if self.system.on_grid else value.unsqueeze(-2)  # (step, n, size, J)
            for name in residual.acts_on:
                block = states.new_zeros(*states.shape, value.shape[-1])
                block[..., self.components(name), :] = value
                columns.append(block)
        return torch.cat(columns, -1) if columns else states.new_zeros(*states.shape, 0)

    def slopes(self, grid: Tensor, states: Tensor, moved: Tensor) -> Tensor:
        """How ``moved`` (step + 1, n, d, parameter) changes with time, on a grid (step + 1,).

        A last parameter of a lifted path, which pushes nothing, may stand behind all others.
        """
        _, own, push = self.jacobians(grid[:, None], states)
        blocks, timed = [push], self.timed()
        if timed is not None:
            features = timed.features(grid)
            block = push.new_zeros(*push.shape[:-1], features.shape[-1])
            block[..., timed.rows, :] = features.unsqueeze(1)
            blocks.append(block)
        pushed = torch.cat(blocks, -1)
        return own @ moved + nn.functional.pad(pushed, (0, moved.shape[-1] - pushed.shape[-1]))

    def raw(self, move: Tensor, auxiliary: Tensor) -> Tensor:
        """How raw parameters change (n, parameter): scores by ``move``, ``z_aux`` to another."""
        timed, dense = [], []
        there = auxiliary.split([r.auxiliary for r in self.residuals], -1)
        for residual, before, after in zip(self.residuals, self.parts, there, strict=True):
            weights = residual.weights(after) - residual.weights(before)  # (n, state, feature)
            timed.append(weights[..., : residual.timed].flatten(1))
            dense.append(weights[..., residual.timed :].flatten(1))
        return torch.cat([self.slope * move, *dense, *timed], -1)

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
            own = residual.stretched(torch.cat(weights, -1), part)
            columns.append(jacobian.new_zeros(*own.shape[:-1], residual.auxiliary - own.shape[-1]))
            columns.append(own)
        return torch.cat(columns, -1)


def values_of(model: GreyBox, latents: Tensor) -> Values:
    """Latents (..., physics) by name."""
    return Values(dict(zip(model.latents.names, latents.unbind(-1), strict=True)), "latent")


@torch.enable_grad()
def rows_of(value: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
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


def columns_of(value: Tensor, leaf: Tensor) -> Tensor:
    """``d value / d leaf_j`` (..., d, j) of values (..., n, d), each of its own row of (n, j).

    A gradient is linear in what it is weighed with: its own gradient by that is a column. Forward
    mode would do, but loads a compiler at its first pass, which takes longer than a check.
    """
    found = value.new_zeros(*value.shape, leaf.shape[-1]).detach()
    if not value.requires_grad:
        return found
    weights = torch.zeros_like(value, requires_grad=True)
    weighed = (weights * value).sum()
    (pulled,) = torch.autograd.grad(weighed, leaf, create_graph=True, allow_unused=True)
    if pulled is None or not pulled.requires_grad:
        return found
    for place, component in enumerate(pulled.unbind(-1)):
        (found[..., place],) = torch.autograd.grad(component.sum(), weights, retain_graph=True)
    return found


def _blank(like: Tensor, rows: Tensor) -> Tensor:
    return like.new_zeros(*like.shape[:-2], len(rows), like.shape[-1])
