"""How what is observed moves with a push at each moment of a path: what any function would do.

A push that changes by ``u(t)`` along the path changes what is observed by the influence times ``u``
at the nodes of a grid, straight between them, to first order. So the effect of every function of
time and states is one product, however often the function itself changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.models.dynamics import Dynamics
from groundvae.models.greybox import GreyBox
from groundvae.models.normalscore import NormalScore
from groundvae.models.path import latents_of, seen_of, solved
from groundvae.models.rates import Rates
from groundvae.models.values import Values
from groundvae.physics.rungekutta import FixedStep
from groundvae.physics.tangents import Timed, sensitivities

NODES = 100  # of a push, at most


@dataclass(frozen=True)
class Influence:
    """Of n observations.

    ``states`` (n, node) each, by name; ``matrix`` (n, value, state acted on, node): what a push of
    one at a node, straight to its neighbours, does to each value observed.
    """

    states: Values
    matrix: Tensor


@torch.no_grad()
def influence(
    model: GreyBox,
    scores: Sequence[NormalScore],
    at: Tensor,
    batch: Batch,
    solver: FixedStep,
    acts_on: Sequence[str],
) -> Influence:
    """That of pushes on the states ``acts_on`` about the paths at points ``at`` (n, latent)."""
    system, count = model.system, len(scores)
    assert isinstance(system, Dynamics)
    path = solved(model, scores, at, batch, solver)
    latents, slope = latents_of(scores, at[:, :count])
    known = Values(batch.inputs, "input")
    nodes = torch.linspace(0, len(path.grid) - 1, min(NODES, len(path.grid))).round().long()
    rates = _PushedRates(model, latents, slope, at[:, count:], known)
    rates.push_at(path.grid[nodes], acts_on)
    moved = sensitivities(
        path.states, path.grid, rates.begin(), rates.jacobians, solver, rates.timed()
    )
    matrix = seen_of(path, rates, moved, batch.inputs["t"].shape[-1])
    told = system.known.at(known)(path.times[nodes])
    seen = system.known.beside(system.named(path.states[nodes]), told)
    states = Values({k: v.movedim(0, 1) for k, v in seen.items()}, "state")
    return Influence(states, matrix.unflatten(-1, (len(acts_on), len(nodes))))


class _PushedRates(Rates):
    """Rates whose only parameters are pushes at nodes."""

    def push_at(self, nodes: Tensor, acts_on: Sequence[str]) -> None:
        """Push at ``nodes`` (node,), or (node, n) of each one's own."""
        self.nodes, self.acts_on = nodes, acts_on

    def begin(self) -> Tensor:
        return super().begin()[..., :0]

    def jacobians(self, times: Tensor, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rate, own, push = super().jacobians(times, states)
        return rate, own, push[..., :0]

    def timed(self) -> Timed:
        rows = torch.cat([self.components(name) for name in self.acts_on])

        def features(times: Tensor) -> Tensor:
            hats = straight(self.nodes, times).unsqueeze(-2)  # (..., 1, node)
            each = torch.eye(len(rows)).to(hats).unsqueeze(-1) * hats.unsqueeze(-2)
            return each.flatten(-2)  # (..., row, row * node)

        return Timed(rows, features)


def straight(nodes: Tensor, times: Tensor) -> Tensor:
    """Weights of the nodes' values in what lies straight between them, (*times, node).

    Args:
        nodes: rising (node,), or (node, n) of each one's own, which may repeat their last.
        times: between them (time,), or (time, n).

    >>> straight(torch.tensor([0.0, 1.0, 3.0]), torch.tensor([0.5, 3.0]))
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 1.0000]])

    """
    if nodes.dim() == 1:
        return straight(nodes.unsqueeze(1), times.unsqueeze(1)).squeeze(1)
    own, at = nodes.T.contiguous(), times.T.contiguous()
    after = torch.searchsorted(own, at).clamp(1, own.shape[1] - 1)
    left, right = own.gather(1, after - 1), own.gather(1, after)
    share = ((at - left) / (right - left)).nan_to_num(0.0).clamp(0.0, 1.0).unsqueeze(-1)
    found = at.new_zeros(*at.shape, own.shape[1]).scatter(-1, after.unsqueeze(-1), share)
    return found.scatter(-1, after.unsqueeze(-1) - 1, 1 - share).movedim(0, 1)
