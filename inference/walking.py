"""Exact draws by walking: chains in the coordinates of a guide that is nearly right already.

Every step of a chain is two, each of which leaves the posterior as it is: a choice among its point
and further draws of the guide, in proportion to their weights, which jumps as far as the guide
reaches (the draws of many steps are decoded at once), and a Metropolis move near it, for what the
guide reaches badly. No gradient is needed. Sources: Andrieu, Lee & Vihola (2018), Uniform
ergodicity of the iterated conditional SMC; Neal (1999) for the move.
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
MOST, FEWEST = 64, 4  # draws of the guide among which a step chooses
STARTS = 64  # draws that are annealed, from which chains begin
WARM = 50  # steps before the first that is kept: nothing is adapted
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
    report: Callable[[int], None] | None,
) -> Walked:
    """Chains of all observations of a batch, ``draws`` kept of each; all of them move at once."""
    walk = run.guide.walk(batch, run.guide.examine(batch), torch.arange(len(batch)))
    density = partial(log_joint_of, run, batch)
    start = Chains.begin(walk, density, max(STARTS, chains))
    start.anneal()
    start.resample(start.log_weight)
    chosen = torch.randperm(len(start.point))[:chains]
    begin = start.ratio[chosen]
    state = Chains(walk, density, start.point[chosen], begin, begin, torch.zeros_like(begin[0]))
    tries = min(MOST, max(FEWEST, PATHS // (chains * len(batch))))
    ahead = max(1, PATHS // (chains * len(batch) * tries))
    warmup = min(warmup, WARM)
    points, lps = [], []
    for first in range(0, warmup + draws, ahead):
        steps = min(ahead, warmup + draws - first)
        offered = walk.begin(steps * chains * tries)
        weights = ratio(walk, density, offered).unflatten(0, (steps, tries, chains))
        offered = offered.unflatten(0, (steps, tries, chains))
        for i in range(steps):
            _choose(state, offered[i], weights[i])
            state.move(kept=KEPT[(first + i) % len(KEPT)])
            if first + i >= warmup:
                points.append(state.point)
                lps.append(state.ratio + walk.log_prob(state.point))
            if report is not None:
                report(first + i + 1)
    # One chain after the other.
    latents = walk.latents(torch.stack(points, 1).flatten(0, 1))
    return Walked(latents, torch.stack(lps, 1).flatten(0, 1))


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
