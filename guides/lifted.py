"""The start of a search, where a law can be lifted: path and latents are corrected together.

Newton's steps in the latents and in the path at once (``models.path``): the path stays near the
data from the second step on, and solves its law at the end. It reaches what a search along solved
paths loses on the way, in a quarter of the steps. What does not arrive begins once more, on a path
through its data, where the law shows its states. Source: Albersmeyer & Diehl (2010).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from groundvae.guides.follow import Part, follow, parts_of, reown
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.search import Search
from groundvae.models.datapath import on_data, shown
from groundvae.models.dynamics import Dynamics
from groundvae.models.path import Path, along, solved
from groundvae.models.sensitivity import fixed_step

LOOSE = (1e6, 1e3)  # times the push's variance, one step each
STEPS = 12  # further ones
STILL, OWN_STILL = 0.02, 0.03  # nats that a step would gain, and own scores, that count as none
OWN_STEPS = 2  # of own variances, at each linearization


def liftable(search: Search, parts: Sequence[Part]) -> bool:
    """Whether the paths of a model can be lifted: its law is solved by known steps."""
    return bool(parts) and fixed_step(search.model) is not None


@torch.no_grad()
def approach(search: Search, parts: Sequence[Part], *, own: bool) -> None:
    """Bring every point near a mode, ``own`` variances too or as they are; in place.

    What is not lifted follows the data along solved paths.
    """
    arrived = torch.zeros_like(search.alive)
    if liftable(search, parts):
        arrived = lift(search, parts, own=own)
    else:
        search.renew()
    left = (~arrived).nonzero().squeeze(-1)
    if len(left):
        some = search.pick(left)
        follow(some, parts)
        search.put(some, left)


def approached(search: Search, *, own: bool = False) -> Search:
    """The same search, moved by ``approach``."""
    approach(search, parts_of(search.model), own=own)
    return search


@torch.no_grad()
def lift(search: Search, parts: Sequence[Part], *, own: bool) -> Tensor:
    """Move every point of a ``liftable`` model to a mode, but for the last digits; in place.

    Args:
        search: from where to begin.
        parts: the residuals whose push is held loosely at first.
        own: whether the observations' own variances move too.

    Returns:
        Which have arrived (n,); the others are where they were.

    """
    method, system = fixed_step(search.model), search.model.system
    assert method is not None
    assert isinstance(system, Dynamics)
    path = solved(search.model, search.scores, search.at, search.batch, method)
    arrived = _lift(search, path, parts, own=own)
    left = (~arrived).nonzero().squeeze(-1)
    if len(left) and shown(system):
        some = search.pick(left)
        arrived[left] = _lift(some, on_data(path[left], system, some.batch), parts, own=own)
        search.put(some, left)
    return arrived


def _lift(search: Search, path: Path, parts: Sequence[Part], *, own: bool) -> Tensor:
    """The same from one ``path``."""
    arrived = torch.zeros_like(search.alive)
    some = search.pick(torch.arange(len(arrived), device=arrived.device))
    kept = [part.residual.own(some.at[:, part.auxiliary]) for part in parts]
    for looseness in LOOSE:
        reown(some, parts, [each * looseness for each in kept])
        path, _ = _step(some, path, parts, own=False)
    reown(some, parts, kept)
    moving = torch.arange(len(arrived), device=arrived.device)
    for number in range(STEPS):
        before = some.at.clone()
        path, linear = _step(some, path, parts, own=own and number > 0)
        still = (linear.gain() < STILL) & some.alive & (number > 0)
        for part in parts:  # what is left of the step does not touch it
            still &= (some.at - before)[:, part.first].abs() < OWN_STILL
        search.at[moving[still]] = some.at[still]
        arrived[moving[still]] = True
        left = (~still).nonzero().squeeze(-1)
        if not len(left):
            break
        some, path, moving = some.pick(left), path[left], moving[left]
    search.renew()
    return arrived & search.alive


def _step(
    search: Search, path: Path, parts: Sequence[Part], *, own: bool
) -> tuple[Path, LinearGaussian]:
    """A full step of latents and path; and what it was taken from."""
    here = along(path, search.model, search.scores, search.at, search.batch, lifted=True)
    search.take(here.found)
    linear = search.linear()
    if own:
        linear = refit_own(search, parts, linear)
    search.at = search.held(linear.mean)
    return here.shifted(search.at), linear


def refit_own(search: Search, parts: Sequence[Part], linear: LinearGaussian) -> LinearGaussian:
    """Bring the observations' own variances nearer to where they are likeliest; in place.

    ``linear``: the posterior at the points; returned as it is under the new variances.
    """
    for _ in range(OWN_STEPS):
        found = [part.residual.refit_own(part.statistics(search, linear))[0] for part in parts]
        reown(search, parts, found)
        linear = search.linear()
    return linear
