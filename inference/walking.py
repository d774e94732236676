"""Exact draws by walking: chains in the coordinates of a guide that is nearly right already.

Every step of a walk is two, each of which leaves the posterior as it is: a choice among its point
and further draws of the guide, in proportion to their weights, which jumps as far as the guide
reaches (the draws of many steps are decoded at once), and a Metropolis move near it, for what the
guide reaches badly. No gradient is needed. A chain is several walks side by side, since a solver
does many paths as fast as few; where the guide's weights say little there are more of them, and
each takes more steps from a draw that is kept to the next. Sources: Andrieu, Lee & Vihola (2018),
Uniform ergodicity of the iterated conditional SMC; Neal (1999) for the move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.refinement import Chains, ratio
from groundvae.inference.annealed import log_joint_of
from groundvae.inference.run import Run

PATHS = 6000  # that are decoded in one go
TRIES = 8  # draws of the guide among which a step chooses
WORTH = 4.0  # draws of the posterior itself that those of a kept draw's steps are worth
STEPS = (1, 2, 4, 8)  # from a draw that is kept to the next
WALKS = 16  # side by side in a chain, for each of these steps
STARTS = 256  # draws that say what the guide is worth, and are annealed: from them walks begin
WARM = 20  # steps before the first that is kept: nothing is adapted
KEPT = (0.3, 0.6, 0.9)  # shares of a point that moves keep, in turn


@dataclass(frozen=True)
class Walked:
    """Draws (chain * draw, observation, ...): latents by name, and ``lp`` = log p(x, z)."""

    latents: dict[str, Tensor]
    lp: Tensor


@torch.no_grad()
def walk_chains(
    run: Run,
    batch: Batch,
    chains: int,
    draws: int,
    warmup: int,
    report: Callable[[int, int], None] | None,
) -> Walked:
    """Chains of all observations of a batch, ``draws`` kept of each; many move at once."""
    found = run.guide.examine(batch)
    every = torch.arange(len(batch))
    first = _begun(run, batch, found, every, STARTS)
    steps = _steps(first.ratio)
    parts, order = [], []
    for count in steps.unique().tolist():
        rows = (steps == count).nonzero().squeeze(-1)
        each = -(-draws // (WALKS * count))  # draws of a walk
        walks = chains * -(-draws // each)
        begun = _begun(run, batch, found, rows, max(STARTS, walks))
        walked = _walked(begun, walks, each, count, min(warmup, WARM), report)
        parts.append([_of_chains(value, chains, draws) for value in walked])
        order.append(rows)
    back = torch.cat(order).argsort()
    point, lp = (torch.cat(each, 1)[:, back] for each in zip(*parts, strict=True))
    return Walked(first.walk.latents(point), lp)


def _begun(run: Run, batch: Batch, found: object, rows: Tensor, draws: int) -> Chains:
    """Draws of the guide, of some of the observations, ``rows`` (m,)."""
    some = batch[rows]
    walk = run.guide.walk(some, found, rows)
    return Chains.begin(walk, partial(log_joint_of, run, some), draws)


def _steps(log_weight: Tensor) -> Tensor:
    """How many steps each observation asks for (n,), from log weights (draw, n) of the guide.

    >>> _steps(torch.zeros(100, 1))
    tensor([1])
    """
    share = torch.softmax(log_weight, 0).square().sum(0).reciprocal() / len(log_weight)
    known = torch.tensor(STEPS, device=share.device)
    return known[torch.searchsorted(known, WORTH / (TRIES * share)).clamp(max=len(known) - 1)]


def _walked(
    start: Chains,
    walks: int,
    each: int,
    steps: int,
    warmup: int,
    report: Callable[[int, int], None] | None,
) -> tuple[Tensor, Tensor]:
    """Points (walk, each, n, latent) and log p(x, z) (walk, each, n), kept of every ``steps``."""
    walk, density, n = start.walk, start.log_joint, start.point.shape[1]
    start.anneal()
    start.resample(start.log_weight)
    chosen = torch.randperm(len(start.point))[:walks]
    begin = start.ratio[chosen]
    state = Chains(walk, density, start.point[chosen], begin, begin, torch.zeros_like(begin[0]))
    ahead = max(1, PATHS // (walks * n * TRIES))
    total, points, lps = warmup + each * steps, [], []
    for first in range(0, total, ahead):
        count = min(ahead, total - first)
        offered = walk.begin(count * walks * TRIES)
        weights = ratio(walk, density, offered).unflatten(0, (count, TRIES, walks))
        offered = offered.unflatten(0, (count, TRIES, walks))
        for i in range(count):
            _choose(state, offered[i], weights[i])
            state.move(kept=KEPT[(first + i) % len(KEPT)])
            done = first + i + 1
            if done > warmup and (done - warmup) % steps == 0:
                points.append(state.point)
                lps.append(state.ratio + walk.log_prob(state.point))
            if report is not None:
                report(done, total)
    return torch.stack(points, 1), torch.stack(lps, 1)


def _of_chains(value: Tensor, chains: int, draws: int) -> Tensor:
    """Kept of walks (walk, each, n, ...), those of a chain one walk after the other.

    (chain * draw, n, ...).
    """
    return value.unflatten(0, (chains, -1)).flatten(1, 2)[:, :draws].flatten(0, 1)


def _choose(state: Chains, offered: Tensor, weights: Tensor) -> None:
    """One of each chain's own point and those offered (try, chain, n, latent), by weights."""
    among = torch.cat([state.ratio.unsqueeze(0), weights])
    noise = -torch.empty_like(among).exponential_().log()
    picked = (among + noise).argmax(0)
    stays = picked == 0
    place = (picked - 1).clamp(min=0)
    index = place[None, ..., None].expand(1, *offered.shape[1:])
    state.point = torch.where(stays.unsqueeze(-1), state.point, offered.gather(0, index).squeeze(0))
    state.ratio = among.gather(0, picked.unsqueeze(0)).squeeze(0)
