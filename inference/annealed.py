"""Draws of a guide that k-hat doubts, carried on to the model's own posterior.

Source: Vehtari, Simpson, Gelman, Yao & Gabry (2024), Pareto smoothed importance sampling, for the
k-hat that asks for it, and that judges what came of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.refinement import Chains
from groundvae.inference.coordinates import log_joint
from groundvae.inference.importance import ANNEALED, effective_size, smooth
from groundvae.inference.room import ENOUGH, TRUSTED, doubted
from groundvae.inference.run import Run
from groundvae.physics.errors import tolerant

ASKS = 0.5  # k-hat from which an observation's draws are carried on
FORGETS = 0.3  # share of a point that is kept from one kept draw of a chain to the next


@dataclass
class Improved:
    """Which of n observations have draws from the model's own posterior, by annealing.

    Attributes:
        walked: whether this guide's draws are looked at.
        rows: the observations (row,).
        log_evidence: what the weights make of log p(x), nats (row,).
        k_hat: of the weights of the way (row,); ``effective``: share of them that counts (row,).
        accepted: share of the moves that were accepted (row,).
        size: n.

    """

    walked: bool
    size: int
    rows: Tensor
    log_evidence: Tensor
    k_hat: Tensor
    effective: Tensor
    accepted: Tensor

    @classmethod
    def none(cls, batch: Batch, like: Tensor, *, walked: bool = False) -> Improved:
        """No observation's draws are carried on; numbers would be ``like`` these."""
        rows, blank = torch.zeros(0, dtype=torch.long, device=like.device), like.new_zeros(0)
        return cls(walked, len(batch), rows, blank, blank, blank, blank)

    def log_weight(self, log_weight: Tensor) -> Tensor:
        """Of the draws (draw, n): those that were annealed weigh the same."""
        found = log_weight.clone()
        found[:, self.rows] = self.log_evidence.to(found)
        return found

    def said(self) -> dict[str, Tensor]:
        """What is known of each observation, by name, (n,)."""
        if not self.walked:
            return {}
        annealed = torch.zeros(self.size, dtype=torch.bool, device=self.rows.device)
        annealed[self.rows] = True
        each = {"k_hat": self.k_hat, "effective": self.effective, "accepted": self.accepted}
        found = {ANNEALED: annealed}
        for name, value in each.items():
            found[f"{ANNEALED}_{name}"] = value.new_full((self.size,), torch.nan)
            found[f"{ANNEALED}_{name}"][self.rows] = value
        return found


@torch.no_grad()
def improve(
    run: Run,
    batch: Batch,
    found: object,
    first: dict[str, Tensor],
    more: dict[str, Tensor],
    log_density: Tensor,
    *,
    asked: bool,
) -> Improved:
    """Carry draws on where k-hat asks for it, in place.

    Where the way itself is not to be trusted, few points would stand for all, and intervals be far
    too narrow: there the guide's own draws stay, and their k-hat says what they are worth.

    Args:
        run: the run, whose guide has a walk.
        batch: what was observed.
        found: what the guide's ``examine`` gave of it.
        first: the guide's draws (draw, observation, ...) by name, with all latents.
        more: further draws, perhaps not of all latents.
        log_density: of the guide at the ``first`` (draw, observation).
        asked: whether to do so at all.

    """
    walked = (
        asked and run.guide.walks and not run.model.latents.hyper and len(log_density) >= ENOUGH
    )
    if not walked:
        return Improved.none(batch, log_density)
    rows = doubted(log_joint_of(run, batch, first) - log_density, ASKS)
    if not len(rows):
        return Improved.none(batch, log_density, walked=True)
    some, draws = batch[rows], len(log_density)
    walk = run.guide.walk(some, found, rows)
    chains = Chains.begin(walk, partial(log_joint_of, run, some), draws)
    chains.anneal()
    smoothed, k_hat = smooth(chains.log_weight.double().cpu().numpy())
    evidence = torch.logsumexp(chains.log_weight, 0) - math.log(draws)
    chains.resample(torch.as_tensor(smoothed).to(evidence))
    chains.move(kept=FORGETS)
    good = torch.as_tensor(k_hat <= TRUSTED).to(rows.device)
    taken = rows[good]
    for name, value in walk.latents(chains.point).items():
        first[name][:, taken] = value[:, good]
    total = len(next(iter(more.values()))) if more else 0
    for start in range(0, total, draws):  # the same chains, moves later
        chains.move(kept=FORGETS)
        late = walk.latents(chains.point[: total - start])
        for name in more:
            more[name][start : start + draws, taken] = late[name][:, good]
    shares = [torch.as_tensor(each).to(evidence) for each in (k_hat, effective_size(smoothed))]
    each = [evidence, shares[0], shares[1] / draws, chains.accepted / chains.moves]
    return Improved(walked, len(batch), taken, *(value[good] for value in each))


def log_joint_of(run: Run, batch: Batch, latents: Mapping[str, Tensor]) -> Tensor:
    """``log_joint`` of draws, not finite where a path runs away."""
    with tolerant():
        return log_joint(run, batch, latents, {})
