"""A distribution over axes: angles of period pi, such as a position angle."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from groundvae.models.truncated import Shape


class AxialVonMises(TorchDistribution):
    """Twice the angle is von Mises: an axis near ``loc`` (rad), on 0 .. pi with no seam.

    ``concentration`` as of the von Mises distribution; the standard deviation of the axis is
    about ``1 / (2 sqrt(concentration))`` rad where that is small.
    Source: Mardia & Jupp (2000), Directional statistics, section 3.6.

    >>> prior = AxialVonMises(torch.tensor(0.0), torch.tensor(4.0))
    >>> ends = prior.log_prob(torch.tensor([0.0, math.pi]))
    >>> bool((ends[0] - ends[1]).abs() < 1e-4)
    True
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.interval(0.0, math.pi)
    has_rsample = False

    def __init__(
        self, loc: Tensor, concentration: Tensor, *, validate_args: bool | None = None
    ) -> None:
        self.loc, self.concentration = loc, concentration
        self._doubled = dist.VonMises(2 * loc, concentration, validate_args=False)
        super().__init__(self._doubled.batch_shape, validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: object = None) -> AxialVonMises:
        shape = torch.Size(batch_shape)
        loc, concentration = self.loc.expand(shape), self.concentration.expand(shape)
        return AxialVonMises(loc, concentration, validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: Shape = ()) -> Tensor:
        return torch.remainder(0.5 * self._doubled.sample(torch.Size(sample_shape)), math.pi)

    def log_prob(self, value: Tensor) -> Tensor:
        density: Tensor = self._doubled.log_prob(2 * value) + math.log(2)
        return density
