"""Functions of the states that are learned by evidence: placed where it rises most, then moved.

About the paths as they are, what a function does to the data is linear in its values
(``models.influence``), and so the evidence of a linear-Gaussian model is known for every function:
of very many candidates the best is found, and its gradient by place and width, without a path being
solved. The paths follow; what lowers their evidence is taken back. Source: Tipping & Faul (2003),
Fast marginal likelihood maximisation for sparse Bayesian models (one function after the other).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from groundvae.guides.follow import Part
from groundvae.guides.lifted import approached
from groundvae.guides.pushes import LEAST, Pushes
from groundvae.guides.search import Search
from groundvae.models.residuals.radial import candidates, shaped
from groundvae.models.residuals.unknown import Unknown

STEPS, RATE = 30, 0.02  # of Adam's, in each round
SHARES = (1.0, 0.3, 0.1)  # of what they moved, the first that the paths follow
WORTH, CHANCE = 0.1, 20.0  # nats an observation and in all, for which a function is placed


def place_functions(search: Search, parts: Sequence[Part], usual: Tensor, flat: float) -> bool:
    """Place one more function of each part where ``usual`` observations (n,) ask for it.

    ``flat``: times their widths, what physics priors say of a population. The search's points
    follow. Whether there was one.
    """
    found = [_place(search, part, learned, usual, flat) for part, learned in _learned(parts)]
    return any(found)


def move_functions(search: Search, parts: Sequence[Part], usual: Tensor, flat: float) -> bool:
    """Move those that are placed uphill in the evidence of ``usual`` observations (n,).

    The search's points follow. Whether any did.
    """
    placed = [(p, learned) for p, learned in _learned(parts) if learned.radial.placed.any()]
    found = [_move(search, part, learned, usual, flat) for part, learned in placed]
    return any(found)


def _learned(parts: Sequence[Part]) -> list[tuple[Part, Unknown]]:
    """Those parts that may have functions of states, placed or to be placed."""
    unknown = [(p, p.residual) for p in parts if isinstance(p.residual, Unknown)]
    return [(p, residual) for p, residual in unknown if residual.learned]


@torch.no_grad()
def _place(search: Search, part: Part, residual: Unknown, usual: Tensor, flat: float) -> bool:
    if bool(residual.radial.placed.all()):
        return False
    pushes = Pushes(search, part, residual, flat)
    offered = candidates(len(residual.sees), search.at)
    values = shaped(residual.seen(pushes.states), *offered)
    gain, mean, variance = pushes.told().gains(values, usual)
    state, best = divmod(int(gain.argmax()), gain.shape[1])
    if gain.max() < max(WORTH * int(usual.sum()), CHANCE):
        return False
    every = torch.arange(len(usual), device=usual.device)
    before, kept = search.evidence(search.linear())[usual].mean(), search.pick(every)
    others = torch.arange(len(mean), device=usual.device) != state
    on_one = mean[:, best].masked_fill(others, 0.0), variance[:, best].masked_fill(others, LEAST)
    place, width, kind = (each[best] for each in offered)
    residual.place(place, width, kind, *on_one)
    search.spread(approached)  # so much at once cannot be followed along solved paths
    if search.evidence(search.linear())[usual & search.alive].mean() > before:
        return True
    residual.take_back()
    search.put(kept, every)
    return False


@torch.no_grad()
def _move(search: Search, part: Part, residual: Unknown, usual: Tensor, flat: float) -> bool:
    parameters = list(residual.radial.parameters())
    start = parameters_to_vector(parameters).clone()
    pushes = Pushes(search, part, residual, flat)
    told, first = pushes.told(but=True), pushes.linear().mean
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    for _ in range(STEPS):
        with torch.enable_grad():
            loss = -told.evidence(*pushes.functions())[usual].mean()
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
    step = parameters_to_vector(parameters) - start
    before = search.evidence(search.linear())[usual].sum()
    for share in SHARES:
        vector_to_parameters(start + share * step, parameters)
        if _followed(search, pushes.linear().mean - first, usual, before):
            return True
    vector_to_parameters(start, parameters)
    return False


def _followed(search: Search, shift: Tensor, usual: Tensor, before: Tensor) -> bool:
    """Whether points moved by a ``shift`` have more evidence than ``before``: then they stay."""
    every = torch.arange(len(usual), device=usual.device)
    trial = search.pick(every)
    trial.at = torch.where(usual.unsqueeze(-1), search.held(search.at + shift), search.at)
    trial.renew()
    after = trial.evidence(trial.linear())[usual].sum()
    if not trial.alive[usual].all() or after <= before:
        return False
    search.put(trial, every)
    return True
