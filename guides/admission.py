"""What comes into a population and what goes out: its begin, and features of states.

First scales are those of what a feature does to the data; scales of the states are those that the
modes have by then. How much of a feature the physics could do is told here, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from groundvae.data.errors import InputError
from groundvae.guides.follow import Part
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.search import Search
from groundvae.models.residuals.linear import LinearResidual
from groundvae.models.sensitivity import seen_at_samples

NOISE = 0.1  # of the data's spread, where the noise begins


@torch.no_grad()
def begin(search: Search, parts: Sequence[Part], share: float = NOISE) -> None:
    """Noise a ``share`` of the data's spread, pushes of a tenth in what is observed, no states."""
    spread = float(search.batch.x.std())
    noise = search.model.noise
    noise.sharpen(share * spread / float(noise.scale.mean()))
    for part in parts:
        part.residual.blank()
    search.renew()
    if not search.alive.any():  # without its push, a law may run away where an earlier start ended
        search.at = torch.zeros_like(search.at)
        search.renew()
    if not search.alive.any():
        raise InputError(
            "the law runs away from the middle of the prior in every observation, expected paths "
            "that are finite there: look at what `check` says of draws of the prior, and narrow it"
        )
    for part in parts:
        part.residual.begin(effects(search, part), spread)


def admit_states(search: Search, parts: Sequence[Part]) -> None:
    """Let features of the states in, on the scale of the states that the modes have by now.

    Those that are in begin anew: what others have learned to do in place of a new one, they keep
    doing else, and a fit may end where its latents are off.
    """
    for part in parts:
        kept = search.at[:, part.auxiliary].clone()
        raw, own = part.residual.weights(kept), part.residual.own(kept)
        scales, rates = usual_sizes(search, part.residual)
        part.residual.admit(scales, rates)
        search.at[:, part.auxiliary] = part.residual.whitened(raw, own)
        search.renew()
        part.residual.enter(effects(search, part), float(search.batch.x.std()))
        search.at[:, part.auxiliary] = part.residual.whitened(raw, own)
    search.renew()


def trim(search: Search, parts: Sequence[Part], linear: LinearGaussian, usual: Tensor) -> None:
    """Leave out of all points the functions that ``usual`` observations do not ask for."""
    kept = torch.ones_like(search.at[0], dtype=torch.bool)
    statistics = [part.statistics(search, linear, usual) for part in parts]
    for part, told in zip(parts, statistics, strict=True):
        where = part.auxiliary  # as it is before
        kept[where] = part.residual.trim(told)
    search.at, search.jacobian = search.at[:, kept], search.jacobian[..., kept]


def usual_sizes(search: Search, residual: LinearResidual) -> tuple[Tensor, Tensor]:
    """Usual sizes of the states that a residual sees, and of how fast those it acts on change."""
    named = seen_at_samples(search.model, search.scores, search.at, search.batch)
    alive, grid = search.alive, search.model.system.on_grid
    times = search.batch.inputs["t"]  # of each one's own, they repeat where they have ended
    gap = torch.diff(times[alive] if times.dim() > 1 else times[None])
    gap = gap.reshape(*gap.shape, *[1] * grid)
    sizes = [_usual_size(named[k][alive]) for k in residual.sees]
    rates = [_usual_size(torch.diff(named[k][alive], dim=1) / gap) for k in residual.acts_on]
    return torch.stack(sizes) if sizes else gap.new_zeros(0), torch.stack(rates)


def _usual_size(values: Tensor) -> Tensor:
    """The root mean square of the middle one of n series or fields."""
    return values.square().flatten(1).nanmean(1).median().sqrt().clamp(min=1e-6)


def effects(search: Search, part: Part) -> Tensor:
    """What a weight of one standard deviation does to what is observed, rms, (weight,)."""
    columns = search.jacobian[search.alive][..., part.weights]
    return columns.square().mean(1).median(0).values.sqrt()


def imitation(linear: LinearGaussian, columns: Tensor, physics: int) -> Tensor:
    """How much of what each weight does the physics latents could do, (weight,), within 0 .. 1.

    The share of its information that is lost when the physics latents are to be inferred too,
    given all else that is unknown.
    """
    told = linear.information(torch.cat([torch.arange(physics), columns]))
    unit = torch.eye(physics).to(told)
    cross = torch.linalg.solve(
        linear.left(told[:, :physics, :physics]), told[:, :physics, physics:]
    )
    posterior = torch.linalg.inv(unit + linear.alone(physics))
    lost = (cross * (posterior @ cross)).sum(1)
    kept = told[:, physics:, physics:].diagonal(dim1=1, dim2=2)
    return lost.sum(0) / (lost + kept).sum(0).clamp(min=1e-300)
