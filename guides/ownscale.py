"""The posterior of a push and of its scale: normal given the scale, and the scale as it is.

The raw push is normal given its observation's own variance, and that variance has whatever
density the data leave it: far from normal where a few waves are seen and ninety are not. Near a
mode, with ``f = sqrt(own)``, whitened weights ``p`` of the push and all else ``r``,

    d = f P p + R r + noise,      p ~ N(0, I),  r ~ N(0, I),  noise ~ N(0, I)

In the basis in which ``P^T (I + R R^T)^-1 P`` is diagonal every direction of the push is by itself,
so evidence and conditional posterior of *every* ``f`` cost a few products; the density of the
scale's score is made on a grid. Sources: Rue, Martino & Chopin (2009), Approximate Bayesian
inference for latent Gaussian models (the scale apart, the rest normal given it); Rasmussen &
Williams (2006), section 2.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

COARSE, FINE = 161, 49  # nodes of the score's density: all of it, and where its mass is
END = 8.0  # standard deviations of the prior where it ends
MASS = 18.0  # nats below the top, beyond which there is none
LEVEL = 1e-6  # nats that a log density falls between nodes at least
SEEN = 1e-10  # of the largest information, below which a direction of the push is not seen


@dataclass(frozen=True)
class OwnScale:
    """Of n observations, all in standard normal latents.

    Attributes:
        basis: directions of the push that the data see, (n, push, seen), orthonormal.
        gain: information on each at ``f = 1``, ``pull`` what the data say of it, (n, seen).
        cross: what a push of ``f = 1`` takes from the means of the rest, (n, rest, push).
        centre, factor: of the rest without a push, (n, rest), (n, rest, rest) lower triangular.
        nodes, height: the score's log density (n, node), straight between nodes.

    """

    basis: Tensor
    gain: Tensor
    pull: Tensor
    cross: Tensor
    centre: Tensor
    factor: Tensor
    nodes: Tensor
    height: Tensor

    @classmethod
    def join(cls, parts: Sequence[OwnScale]) -> OwnScale:
        """One of the observations of all ``parts``."""
        names = [field.name for field in fields(cls)]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    @classmethod
    def of(
        cls, data: Tensor, push: Tensor, rest: Tensor, spread: Tensor, room: float = 1.0
    ) -> OwnScale:
        """From ``d`` (n, value), ``P`` (n, value, push), ``R`` (n, value, rest), all whitened.

        ``spread`` () is the standard deviation of the log of own variances. The rest is made up to
        ``room`` times as wide as it is given the push, as far as data make it narrower than its
        prior.
        """
        if data.shape[1] > push.shape[2] + rest.shape[2]:  # what no latent moves tells nothing
            turned, triangle = torch.linalg.qr(torch.cat([push, rest], -1))
            data = (turned.mT @ data.unsqueeze(-1)).squeeze(-1)
            push, rest = triangle.split([push.shape[2], rest.shape[2]], -1)
        unit = torch.eye(rest.shape[2]).to(rest)
        inner = torch.linalg.cholesky(unit + rest.mT @ rest)
        cross = torch.cholesky_solve(rest.mT @ push, inner)
        centre = torch.cholesky_solve(rest.mT @ data.unsqueeze(-1), inner).squeeze(-1)
        wider = inner if room == 1 else torch.linalg.cholesky(unit + rest.mT @ rest / room**2)
        factor = _inverse_factor(wider)
        outer = torch.linalg.cholesky(torch.eye(data.shape[1]).to(rest) + rest @ rest.mT)
        both = torch.linalg.solve_triangular(
            outer, torch.cat([push, data.unsqueeze(-1)], -1), upper=False
        )
        gain, turn = torch.linalg.eigh(both[..., :-1] @ both[..., :-1].mT)
        seen = gain > SEEN * gain[:, -1:].clamp(min=SEEN)
        root = gain.clamp(min=1e-300).rsqrt() * seen
        basis = both[..., :-1].mT @ turn * root.unsqueeze(1)
        pull = (turn.mT @ both[..., -1:]).squeeze(-1) * seen
        gain = gain * seen
        nodes, height = _density(gain, pull, spread)
        return cls(basis, gain, pull, cross, centre, factor, nodes, height)


def evidence(gain: Tensor, pull: Tensor, log_own: Tensor) -> Tensor:
    """Log density of the data (n, node), but for constants, given log own variances (n, node)."""
    told = 1 + log_own.exp().unsqueeze(-1) * gain.unsqueeze(1)
    return -0.5 * (told.log() + pull.square().unsqueeze(1) / told).sum(-1)


def _density(gain: Tensor, pull: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes and normalized log density of the score, straight between them."""
    coarse = torch.linspace(-END, END, COARSE).to(gain).expand(len(gain), -1)
    first = _log_joint(gain, pull, spread, coarse)
    inside = first > first.amax(1, keepdim=True) - MASS
    wide = coarse[0, 1] - coarse[0, 0]
    low = coarse.masked_fill(~inside, END).amin(1, keepdim=True) - wide
    high = coarse.masked_fill(~inside, -END).amax(1, keepdim=True) + wide
    share = torch.linspace(0, 1, FINE).to(gain)
    fine = low + (high - low) * share
    ends = torch.full_like(low, 2 * END)
    nodes = torch.cat([-ends, fine, ends], 1)
    height = _log_joint(gain, pull, spread, nodes)
    return nodes, height - _log_masses(nodes, height).logsumexp(1, keepdim=True)


def _log_joint(gain: Tensor, pull: Tensor, spread: Tensor, score: Tensor) -> Tensor:
    return evidence(gain, pull, spread * score) - 0.5 * score**2


def _log_masses(nodes: Tensor, height: Tensor) -> Tensor:
    """Log of what lies between neighbouring nodes (n, node - 1), the log density straight."""
    fall, flat = _fall(height.diff(dim=1))
    filled = torch.where(flat, 1 - 0.5 * fall, -torch.expm1(-fall) / fall)
    return torch.maximum(height[:, :-1], height[:, 1:]) + filled.log() + nodes.diff(dim=1).log()


def _fall(rise: Tensor) -> tuple[Tensor, Tensor]:
    """How far a log density falls between two nodes, and where it hardly does."""
    flat = rise.abs() < LEVEL
    return torch.where(flat, torch.full_like(rise, LEVEL), rise.abs()), flat


def _inverse_factor(factor: Tensor) -> Tensor:
    """A lower factor of the inverse of ``factor factor^T``."""
    unit = torch.eye(factor.shape[-1]).to(factor)
    root = torch.linalg.solve_triangular(factor, unit.expand_as(factor), upper=False)
    return torch.linalg.cholesky(root.mT @ root)


def draw_score(own: OwnScale, shape: torch.Size) -> Tensor:
    """Scores (*shape, n) by the inverse of their distribution."""
    masses = _log_masses(own.nodes, own.height).exp()
    reach = masses.cumsum(1)
    count = math.prod(shape)
    point = torch.rand(len(reach), count).to(reach) * reach[:, -1:]
    cell = torch.searchsorted(reach, point).clamp(max=reach.shape[1] - 1)
    before = (reach - masses).gather(1, cell)
    share = ((point - before) / masses.gather(1, cell)).clamp(0, 1)
    rise = own.height.diff(dim=1).gather(1, cell)
    fall, flat = _fall(rise)
    share = torch.where(rise > 0, 1 - share, share)  # from the higher end: exp has an end
    within = torch.where(flat, share, -torch.log1p(share * torch.expm1(-fall)) / fall)
    within = torch.where(rise > 0, 1 - within, within)
    left, width = own.nodes.gather(1, cell), own.nodes.diff(dim=1).gather(1, cell)
    return (left + width * within).mT.reshape(*shape, -1)


def log_density(own: OwnScale, score: Tensor) -> Tensor:
    """Log density (..., n) of scores (..., n)."""
    flat = score.reshape(-1, len(own.nodes)).mT.contiguous()
    cell = torch.searchsorted(own.nodes, flat).clamp(1, own.nodes.shape[1] - 1)
    left, right = own.nodes.gather(1, cell - 1), own.nodes.gather(1, cell)
    low, high = own.height.gather(1, cell - 1), own.height.gather(1, cell)
    found = low + (high - low) * (flat - left) / (right - left)
    return found.mT.reshape(score.shape)
