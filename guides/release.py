"""Features that the physics could nearly be: held to nothing, unless the data ask for them.

What may be physics stays physics: of a spring, dry friction in its position is the spring's own
force but for a hundredth, and an estimate from that hundredth is led astray by anything else that
is missing. So such features have mean zero and a small scale at first. Where the population is
settled they are let in once, a few rounds are gone, and they stay where the evidence has risen by
far more than chance. A relay that pushes a spring back had 90 % intervals of its frequency hold
15 % without; gravity that fades, where the evidence falls, is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor

from groundvae.guides.admission import effects
from groundvae.guides.follow import Part, carry
from groundvae.guides.functions import CHANCE, WORTH
from groundvae.guides.search import Search
from groundvae.models.residuals.learnedweights import LearnedWeights

ROUNDS = 12  # until the evidence has settled again


@torch.no_grad()
def release(
    search: Search, parts: Sequence[Part], usual: Tensor, another: Callable[[], None]
) -> float:
    """Let features in that the physics nearly are, or leave all as it was.

    Args:
        search: at modes under a settled population; moved in place.
        parts: the residuals.
        usual: observations that count (n,).
        another: a round of the fit.

    Returns:
        By how much the evidence of ``usual`` observations has risen, nats; 0 where nothing changed.

    """
    learned = [(p, p.residual) for p in parts if isinstance(p.residual, LearnedWeights)]
    nearly = [(part, residual) for part, residual in learned if residual.nearly.any()]
    if not nearly:
        return 0.0
    every = torch.arange(len(usual), device=usual.device)
    before, kept = _evidence(search, usual), search.pick(every)
    population = deepcopy(search.model.state_dict())
    done, spread = [effects(search, part) for part, _ in nearly], float(search.batch.x.std())

    def let_in() -> list[Tensor]:
        for (_, residual), each in zip(nearly, done, strict=True):
            residual.release(each, spread)
        return [part.residual.own(search.at[:, part.auxiliary]) for part in parts]

    carry(search, parts, let_in)
    for _ in range(ROUNDS):
        another()
    rise = _evidence(search, usual) - before
    if rise > max(WORTH * int(usual.sum()), CHANCE):
        return rise
    search.model.load_state_dict(population)
    search.put(kept, every)
    return 0.0


def _evidence(search: Search, usual: Tensor) -> float:
    """Of ``usual`` observations; minus infinity where one is lost."""
    if not search.alive[usual].all():
        return -torch.inf
    return float(search.evidence(search.linear())[usual].sum())
