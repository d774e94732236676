"""A law's path, and how all that is observed of it moves with every latent, exactly.

A path may be *lifted*: it need not solve its law yet. The law, linear about it, then says where it
should be, beside how it moves with each latent; a step corrects both at once. What is far from a
solution is so near to the data all the while, and laws that run away are never solved from a
wrong start. Sources: Bock & Plitt (1984), A multiple shooting algorithm; Albersmeyer & Diehl
(2010), The lifted Newton method and its application in optimization.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.models.dynamics import Dynamics
from groundvae.models.greybox import GreyBox
from groundvae.models.normalscore import NormalScore
from groundvae.models.rates import Rates, rows_of, values_of
from groundvae.models.values import Values
from groundvae.physics.clock import step_grid
from groundvae.physics.dense import Dense
from groundvae.physics.rungekutta import FixedStep
from groundvae.physics.tangents import sensitivities


@dataclass(frozen=True)
class Linearization:
    """A model near latents of n observations.

    ``mean`` (n, *event); ``jacobian`` (n, value, latent), by normal scores of the physics latents
    and by ``z_aux``.
    """

    mean: Tensor
    jacobian: Tensor

    @classmethod
    def blank(cls, at: Tensor, like: Tensor) -> Linearization:
        """Of nothing asked yet at points ``at`` (n, latent); ``like`` the data (n, *event)."""
        values = like[:1].numel()
        return cls(torch.zeros_like(like), at.new_zeros(len(at), values, at.shape[1]))

    @classmethod
    def join(cls, parts: Sequence[Linearization]) -> Linearization:
        """That of the observations of all ``parts``."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(torch.cat([getattr(p, k) for p in parts]) for k in ("mean", "jacobian")))


@dataclass(frozen=True)
class Path:
    """States (step + 1, n, d) of n observations on the grid of their solver.

    The ``grid`` is (step + 1,) and the places ``requested`` in it (time,), or (step + 1, n) and
    (time, n) where times are of each observation's own. ``dense``: how times are reached that lie
    between those of the grid.
    """

    states: Tensor
    grid: Tensor
    requested: Tensor
    solver: FixedStep
    dense: Dense | None = None

    def __getitem__(self, rows: Tensor) -> Path:
        """The paths of some observations (m,)."""
        grid, requested = self.grid, self.requested
        if grid.dim() > 1:
            grid, requested = grid[:, rows], requested[:, rows]
        return replace(self, states=self.states[:, rows], grid=grid, requested=requested)

    @property
    def times(self) -> Tensor:
        """Those of the grid (step + 1, 1 or n)."""
        return self.grid.view(len(self.states), -1)

    def sampled(self, values: Tensor, slopes: Callable[[], Tensor], count: int) -> Tensor:
        """Of ``values`` (step + 1, n, ...) those at the last ``count`` times, (n, time, ...).

        ``slopes``: how they change with time, asked for where times lie between.
        """
        if self.dense is not None:
            return self.dense(values, slopes())[-count:].movedim(0, 1)
        places = self.requested[-count:]
        if places.dim() == 1:
            return values[places].movedim(0, 1)
        return values[places, torch.arange(places.shape[1], device=places.device)].movedim(0, 1)


@dataclass(frozen=True)
class Along:
    """What is found along a path at points ``at`` (n, latent).

    ``found`` of the samples; ``moved`` (step + 1, n, d, parameter) of every state.
    """

    path: Path
    at: Tensor
    found: Linearization
    rates: Rates
    moved: Tensor

    def shifted(self, to: Tensor) -> Path:
        """The lifted path as the linear law has it at other points (n, latent)."""
        count = self.rates.slope.shape[-1]
        change = self.rates.raw(to[:, :count] - self.at[:, :count], to[:, count:])
        step = self.moved[..., :-1] @ change.unsqueeze(-1)
        return replace(self.path, states=self.path.states + step.squeeze(-1) + self.moved[..., -1])


@torch.no_grad()
def solved(
    model: GreyBox, scores: Sequence[NormalScore], at: Tensor, batch: Batch, solver: FixedStep
) -> Path:
    """The paths at points ``at`` (n, latent): normal scores of the physics, then ``z_aux``."""
    system, count = model.system, len(scores)
    assert isinstance(system, Dynamics)
    known = Values(batch.inputs, "input")
    times = system.released(known["t"])
    dense = system.dense(times)
    times = times if dense is None else dense.grid
    z = values_of(model, latents_of(scores, at[:, :count])[0])
    stages = None if times.dim() > 1 else solver.stage_times(times)
    bound = model.bound(z, at[:, count:], known, stages=stages)
    start = system.begin(z, known, torch.Size([len(at)])).unsqueeze(0)
    field = system.field(z, known, bound)
    grid, requested = step_grid(times, solver.step)
    states = solver.path(field, start, grid)
    return Path(states.squeeze(1), grid, requested, solver, dense)


@torch.no_grad()
def along(
    path: Path,
    model: GreyBox,
    scores: Sequence[NormalScore],
    at: Tensor,
    batch: Batch,
    *,
    lifted: bool = False,
) -> Along:
    """The model linear about a path, at points ``at`` (n, latent).

    Where it is ``lifted``, the mean is what the law, linear about the path, says there. Paths that
    have left the finite numbers come back as NaN; the others are as they are.
    """
    system, count = model.system, len(scores)
    assert isinstance(system, Dynamics)
    latents, slope = latents_of(scores, at[:, :count])
    known = Values(batch.inputs, "input")
    z = values_of(model, latents)
    lost = ~torch.isfinite(path.states).all(-1).all(0)
    states = path.states.masked_fill(lost.view(1, -1, 1), 0.0)
    rates = Rates(model, latents, slope, at[:, count:], known)
    start = system.begin(z, known, torch.Size([len(at)])) if lifted else None
    moved = sensitivities(
        states,
        path.grid,
        rates.begin(),
        rates.jacobians,
        path.solver,
        rates.timed(),
        start,
    )
    size = batch.inputs["t"].shape[-1]
    there = path.sampled(states, lambda: rates.field(path.times, states), size)
    mean, rows, by_latent = _observed(rates, there)
    jacobian = _seen(path, states, rates, moved, rows)
    if by_latent.any():  # a gain, a volume: what no state moves with
        jacobian[..., :count] += by_latent.flatten(1, 2)
    if lifted:
        mean = mean + jacobian[..., -1].view(mean.shape)
        jacobian = jacobian[..., :-1]
    mean = mean.masked_fill(lost.view(-1, *[1] * (mean.dim() - 1)), torch.nan)
    found = Linearization(mean, rates.stretched(jacobian))
    return Along(path, at, found, rates, moved)


@torch.enable_grad()
def latents_of(scores: Sequence[NormalScore], u: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (n, physics) of scores (n, physics), and their slopes."""
    if not scores:
        return u, u
    leaf = u.detach().requires_grad_()
    found = torch.stack([s.value(c) for s, c in zip(scores, leaf.unbind(-1), strict=True)], -1)
    (slope,) = torch.autograd.grad(found.sum(), leaf)
    return found.detach(), slope


def seen_of(path: Path, rates: Rates, moved: Tensor, size: int) -> Tensor:
    """How what is observed at ``size`` times moves (n, value, parameter) with what moves states."""
    there = path.sampled(path.states, lambda: rates.field(path.times, path.states), size)
    return _seen(path, path.states, rates, moved, _observed(rates, there)[1])


def _seen(path: Path, states: Tensor, rates: Rates, moved: Tensor, rows: Tensor) -> Tensor:
    """How what is observed moves (n, value, parameter), by derivatives ``rows`` by the states."""
    seen = rows.flatten(0, 2).any(0).nonzero().squeeze(-1)  # most laws show a state as it is
    by_raw = path.sampled(
        moved[..., seen, :],
        lambda: rates.slopes(path.grid, states, moved)[..., seen, :],
        rows.shape[1],
    )
    rows = rows[..., seen]
    jacobian = rows * by_raw if len(seen) == 1 else rows @ by_raw
    return jacobian.flatten(1, 2)


def _observed(rates: Rates, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is observed of states (n, time, d), and its derivatives by them and by physics latents.

    (n, time, channel, d) and (n, time, channel, physics): what is observed at a time depends on
    the states at that time.
    """
    system = rates.system
    with torch.enable_grad():
        leaf = states.detach().requires_grad_()
        each = rates.latents.detach().unsqueeze(1).expand(-1, states.shape[1], -1)
        each = each.clone().requires_grad_()  # of every sample its own
        _, known = system.beside_samples(Values({}, "latent"), rates.known)
        z = values_of(rates.model, each).with_axes(int(system.on_grid))
        seen = system.observe(system.named(leaf), z, known)
        channels = seen.unsqueeze(-1) if seen.dim() == leaf.dim() - 1 else seen
    rows, by_latent = rows_of(channels, [leaf, each])
    return seen.detach(), rows, by_latent
