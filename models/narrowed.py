"""What data have left of a prior: a normal in its scores, not around zero and not as wide."""

from __future__ import annotations

import torch
from pyro.distributions import Normal, TorchDistribution
from torch import Tensor
from torch.distributions.constraints import Constraint

from groundvae.data.errors import InputError
from groundvae.models.truncated import Shape


class Narrowed(TorchDistribution):
    """``base`` whose normal score is ``N(shift, scale^2)`` instead of ``N(0, 1)``.

    A value has the score ``u`` where ``Phi(u)`` is its share under ``base``: the support is kept.

    >>> from pyro.distributions import LogNormal
    >>> narrow = Narrowed(LogNormal(0.0, 1.0), 0.5, 0.1)
    >>> round(float(narrow.icdf(torch.tensor(0.5)).log()), 4)
    0.5

    Args:
        base: scalar, with a cdf and its inverse.
        shift: of its score.
        scale: of its score, above 0.

    Raises:
        InputError: a base without a cdf, or a scale that is not above 0.

    """

    arg_constraints = {}
    has_rsample = True

    def __init__(self, base: TorchDistribution, shift: float, scale: float) -> None:
        if not scale > 0:
            raise InputError(f"Narrowed by {scale:g}, expected a scale above 0")
        self.base, self.shift, self.scale = base, shift, scale
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)
        try:
            base.cdf(base.icdf(torch.full(base.batch_shape, 0.5)))
        except NotImplementedError as error:
            raise InputError(f"{type(base).__name__} has no cdf to be Narrowed by") from error

    @property
    def support(self) -> Constraint | None:
        found: Constraint | None = self.base.support
        return found

    def expand(self, batch_shape: Shape, _instance: object = None) -> Narrowed:
        return Narrowed(self.base.expand(torch.Size(batch_shape)), self.shift, self.scale)

    def _at(self, score: Tensor) -> Tensor:
        tiny = torch.finfo(score.dtype).eps
        share = torch.special.ndtr(self.shift + self.scale * score)
        value: Tensor = self.base.icdf(share.clamp(tiny, 1 - tiny))
        return value

    def icdf(self, value: Tensor) -> Tensor:
        return self._at(torch.special.ndtri(value))

    def _score(self, value: Tensor) -> Tensor:
        tiny = torch.finfo(value.dtype).eps
        return torch.special.ndtri(self.base.cdf(value).clamp(tiny, 1 - tiny))

    def cdf(self, value: Tensor) -> Tensor:
        return torch.special.ndtr((self._score(value) - self.shift) / self.scale)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        like = self.base.sample()
        return self._at(torch.randn(shape, dtype=like.dtype, device=like.device))

    def log_prob(self, value: Tensor) -> Tensor:
        score, unit = self._score(value), Normal(torch.zeros_like(value), 1.0)
        own = Normal(torch.full_like(value, self.shift), self.scale).log_prob(score)
        found: Tensor = self.base.log_prob(value) + own - unit.log_prob(score)
        return found


def declared(prior: TorchDistribution) -> tuple[TorchDistribution, float]:
    """A latent's prior before observations agreed, and what is left of its width since.

    >>> from pyro.distributions import Normal
    >>> declared(Narrowed(Normal(0.0, 1.0), 0.5, 0.1))
    (Normal(loc: 0.0, scale: 1.0), 0.1)
    """
    if isinstance(prior, Narrowed):
        return prior.base, prior.scale
    return prior, 1.0
