"""The posterior about where a search for modes ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from groundvae.guides.follow import Part
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.ownscale import OwnScale
from groundvae.guides.pushposterior import own_scale
from groundvae.guides.search import Search
from groundvae.models.normalscore import CircleScore

REACHED = 0.5  # nats that a step would gain, above which no mode was reached
LOST = 10.0  # the same, above which where the search ended says nothing
STRAY = 3.0  # times the samples, that the squared residual of a mode has at most
LEAST = 1e-12  # of a prior's variance, that a posterior has at least: digits end there


@dataclass(frozen=True)
class Mode:
    """The posterior about where a search ended, for n observations.

    ``centre`` (n, latent) and ``factor`` (n, latent, latent), lower triangular, in standard normal
    latents; ``found`` (n,): whether a mode was reached; ``evidence`` (n,): Laplace's approximation
    of log p(x), nats; ``taken`` (n, physics): the share of the information on each physics latent
    that the unknown part takes away. ``at`` (n, latent): where the search ended; ``heading`` (n,
    circle): angles of score zero, opposite to which circles are cut; ``own``: where one residual
    pushes, the posterior with the scale of the push as it is, in place of the normal.
    """

    centre: Tensor
    factor: Tensor
    found: Tensor
    evidence: Tensor
    taken: Tensor
    at: Tensor
    heading: Tensor
    own: OwnScale | None = None

    @classmethod
    def join(cls, parts: Sequence[Mode]) -> Mode:
        """One of the observations of all ``parts``."""
        names = [field.name for field in fields(cls) if field.name != "own"]
        whole = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        owns = [part.own for part in parts if part.own is not None]
        return cls(**whole, own=OwnScale.join(owns) if owns else None)


def reached(search: Search, linear: LinearGaussian) -> Tensor:
    """Which points (n,) are at a mode that follows the data; ``linear`` is about them."""
    misfit = (linear.residual**2).sum(1)
    return search.alive & (linear.gain() < REACHED) & (misfit < STRAY * linear.residual.shape[1])


def pushing(parts: Sequence[Part]) -> list[Part]:
    """The residuals that push, with a scale of the observation's own."""
    return [part for part in parts if part.residual.timed]


def about(search: Search, parts: Sequence[Part], widened: float = 1.0, room: float = 1.0) -> Mode:
    """The normal about the points of a search, its widths up to so many times as large.

    Beside a push by itself (``own_scale``) what is not the push has ``room`` besides. A mode that
    is further off than ``STRAY`` says less than its curvature: as if its noise were as much larger.
    """
    linear = search.linear()
    found, evidence = reached(search, linear), search.evidence(linear)
    misfit = (linear.residual**2).mean(1)
    wider = widened * (misfit / STRAY).clamp(min=1.0).sqrt().unsqueeze(-1)
    if bool((wider != 1).any()):
        jacobian, residual = linear.jacobian / wider.unsqueeze(-1), linear.residual / wider
        linear = LinearGaussian(jacobian, residual, search.at)
    covariance = linear.covariance()
    centre = linear.mean.clone()
    for part in parts:  # nothing in the data moves with an own variance but through its weights
        spread = part.residual.refit_own(part.statistics(search, linear))[1].sqrt()
        place = part.first
        covariance[:, place, :] = covariance[:, :, place] = 0.0
        covariance[:, place, place] = (spread / part.residual.own_spread) ** 2
        centre[:, place] = search.at[:, place]
    unit = torch.eye(covariance.shape[-1]).to(covariance)
    lost = ~search.alive | ~(linear.gain() < LOST)
    centre[lost], covariance[lost] = 0.0, unit  # the prior
    factor = torch.linalg.cholesky(covariance + LEAST * unit)
    taken = linear.taken(len(search.scores))
    pushes = pushing(parts)
    own = own_scale(linear, pushes[0], lost, room) if len(pushes) == 1 else None
    circles = [score.heading for score in search.scores if isinstance(score, CircleScore)]
    heading = torch.stack(circles, -1) if circles else centre[:, :0]
    return Mode(centre, factor, found, evidence, taken, search.at, heading, own)
