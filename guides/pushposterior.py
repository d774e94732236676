"""A distribution over all latents of observations whose push has a scale of its own."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.types import _size

from groundvae.guides.follow import Part
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.ownscale import OwnScale, draw_score, log_density

HELD = 1_000_000  # numbers of draws that are made at once


class PushPosterior(TorchDistribution):
    """The score of the scale, the push given it, the rest given both; event (latent,).

    Args:
        own: the posterior of n observations.
        part: the residual that pushes.

    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, own: OwnScale, part: Part) -> None:
        self.own, self.score, self.push = own, part.first, part.push
        self.spread = part.residual.own_spread.detach()
        size = 1 + len(self.push) + own.centre.shape[-1]
        self.rest = rest_of(part, size)
        super().__init__(torch.Size([len(own.gain)]), torch.Size([size]), validate_args=False)

    def expand(self, batch_shape: _size, _instance: object = None) -> PushPosterior:
        """The same under more axes of draws in front."""
        wide = PushPosterior.__new__(PushPosterior)
        wide.__dict__.update(self.__dict__)
        wide._batch_shape = torch.Size(batch_shape)
        return wide

    @torch.no_grad()
    def sample(self, sample_shape: _size = torch.Size()) -> Tensor:  # noqa: B008
        lead = torch.Size([*sample_shape, *self.batch_shape[:-1]])
        n, size = len(self.own.gain), self.event_shape[0]
        found = self.own.gain.new_empty(lead.numel(), n, size)
        for part in found.split(max(1, HELD // (n * size))):
            score = draw_score(self.own, torch.Size([len(part)])).mT  # (n, draw)
            sizes = self.own.gain.shape[1], len(self.push), len(self.rest)
            unit = [torch.randn(n, each, len(part)).to(score) for each in sizes]
            part.copy_(self._of(score, unit).movedim(-1, 0))
        return found.view(*lead, n, size)

    @torch.no_grad()
    def moved(self, value: Tensor, kept: float) -> Tensor:
        """Other points for ``value`` (draw, n, latent), such that its density stays what it is.

        A new score, and of all that is normal given it a share ``kept``. Source: Neal (1999),
        Regression and classification using Gaussian process priors, eq. 15.
        """
        at = value.movedim(0, -1)
        score, unit = draw_score(self.own, value.shape[:1]).mT, self._unit(at)
        rest = math.sqrt(1 - kept**2)
        unit = [kept * each + rest * torch.randn(each.shape).to(each) for each in unit]
        return self._of(score, unit).movedim(-1, 0)

    def log_prob(self, value: Tensor) -> Tensor:
        own = self.own
        at = value.reshape(-1, *value.shape[-2:]).movedim(0, -1)  # (n, latent, draw)
        score, push = at[:, self.score], at[:, self.push]
        seen, _, rest = self._unit(at)
        _, precision = self._seen(self._root(score))
        projected = own.basis.mT @ push
        of_push = (seen**2).sum(1) + (push**2).sum(1) - (projected**2).sum(1)
        of_push = of_push - precision.log().sum(1)
        log_det = own.factor.diagonal(dim1=1, dim2=2).log().sum(1).unsqueeze(-1)
        of_rest = (rest**2).sum(1) + 2 * log_det
        constant = math.log(2 * math.pi) * (len(self.push) + len(self.rest))
        found = log_density(own, score.mT) - 0.5 * ((of_push + of_rest).mT + constant)
        return found.reshape(value.shape[:-1])

    def _root(self, score: Tensor) -> Tensor:
        """The scale of the push (n, 1, draw)."""
        return (0.5 * self.spread * score).exp().unsqueeze(1)

    def _of(self, score: Tensor, unit: list[Tensor]) -> Tensor:
        """Points (n, latent, draw) of scores (n, draw) and standard normals for all else.

        Those of what is seen of the push (n, seen, draw), of the push (n, push, draw), of which
        what is not seen counts, and of the rest (n, rest, draw).
        """
        own, root = self.own, self._root(score)
        mean, precision = self._seen(root)
        seen = mean + unit[0] / precision.sqrt()
        push = unit[1] + own.basis @ (seen - own.basis.mT @ unit[1])
        rest = own.centre.unsqueeze(-1) - own.cross @ (root * push) + own.factor @ unit[2]
        found = score.new_empty(len(score), self.event_shape[0], score.shape[1])
        found[:, self.score], found[:, self.push], found[:, self.rest] = score, push, rest
        return found

    def _unit(self, at: Tensor) -> list[Tensor]:
        """The standard normals that give points (n, latent, draw), given their scores."""
        own, push = self.own, at[:, self.push]
        root = self._root(at[:, self.score])
        mean, precision = self._seen(root)
        seen = (own.basis.mT @ push - mean) * precision.sqrt()
        shifted = at[:, self.rest] - own.centre.unsqueeze(-1) + own.cross @ (root * push)
        return [seen, push, torch.linalg.solve_triangular(own.factor, shifted, upper=False)]

    def _seen(self, root: Tensor) -> tuple[Tensor, Tensor]:
        """Means and precisions (n, seen, draw) of what is seen of the push, given its scale."""
        gain = self.own.gain.unsqueeze(-1)
        precision = 1 + root**2 * gain
        return root * (gain.sqrt() * self.own.pull.unsqueeze(-1)) / precision, precision


def own_scale(linear: LinearGaussian, part: Part, lost: Tensor, room: float = 1.0) -> OwnScale:
    """The posterior about the points of ``linear``; of those that are ``lost`` (n,), the prior.

    ``room``: that of ``OwnScale.of``.
    """
    known = (~lost).view(-1, 1, 1)
    jacobian = linear.jacobian * known
    data = linear.residual * known.squeeze(-1) + (jacobian @ linear.now.unsqueeze(-1)).squeeze(-1)
    at = linear.now[:, part.auxiliary]
    root = part.residual.own(at).sqrt().view(-1, 1, 1)
    rest = rest_of(part, jacobian.shape[-1])
    spread = part.residual.own_spread.detach()
    return OwnScale.of(data, jacobian[..., part.push] / root, jacobian[..., rest], spread, room)


def rest_of(part: Part, size: int) -> Tensor:
    """Places, among ``size`` latents, of all that is neither the push nor its scale."""
    among = torch.ones(size, dtype=torch.bool, device=part.push.device)
    among[part.push], among[part.first] = False, False
    return among.nonzero().squeeze(-1)
