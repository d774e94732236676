"""A distribution cut off at one or both sides."""

from __future__ import annotations

import math

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from groundvae.data.errors import InputError

Shape = torch.Size | list[int] | tuple[int, ...]
LEAST = 1e-4  # probability that has to be left: below, the tail is not exact in single precision


class Truncated(TorchDistribution):
    """``base`` within (low, high), scaled to one; needs the base's cdf and its inverse.

    >>> from pyro.distributions import Normal
    >>> whole, at = Normal(0.0, 1.0), torch.tensor(0.3)
    >>> round(float((Truncated(whole, low=0.0).log_prob(at) - whole.log_prob(at)).exp()), 4)
    2.0

    Raises:
        InputError: bounds in the wrong order, a base without a cdf, or almost nothing left.

    """

    arg_constraints = {}
    has_rsample = True

    def __init__(
        self,
        base: TorchDistribution,
        low: float = -math.inf,
        high: float = math.inf,
        *,
        check: bool = True,
    ) -> None:
        if not low < high:
            raise InputError(f"Truncated from {low:g} to {high:g}, expected low below high")
        self.base, self.low, self.high = base, low, high
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)
        try:
            self.below, above = self._cdf(low, 0.0), self._cdf(high, 1.0)
            base.icdf(torch.full(base.batch_shape, 0.5))
        except NotImplementedError as error:
            raise InputError(f"{type(base).__name__} has no cdf to be Truncated by") from error
        self.mass = above - self.below
        if check and not bool((self.mass.detach() > LEAST).all()):
            raise InputError(
                f"Truncated from {low:g} to {high:g} leaves almost nothing of {type(base).__name__}"
            )

    def _cdf(self, bound: float, beyond: float) -> Tensor:
        """The base's cdf, also where the bound lies outside its support."""
        probe = self.base.sample()
        lower, upper = bounds(self.base.support)
        if bound <= lower or bound >= upper:
            return torch.full_like(probe, 0.0 if bound <= lower else 1.0)
        return (
            self.base.cdf(torch.full_like(probe, bound))
            if math.isfinite(bound)
            else (torch.full_like(probe, beyond))
        )

    @property
    def support(self) -> Constraint | None:
        lower, upper = bounds(self.base.support)
        return between(max(lower, self.low), min(upper, self.high))

    def expand(self, batch_shape: Shape, _instance: object = None) -> Truncated:
        return Truncated(
            self.base.expand(torch.Size(batch_shape)), self.low, self.high, check=False
        )

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        share = torch.rand(shape, dtype=self.mass.dtype, device=self.mass.device)
        value = self.base.icdf(self.below + self.mass * share)
        tiny = torch.finfo(value.dtype).eps  # rounding can put a draw onto a bound
        low, high = bounds(self.support)
        inner_low = low + tiny * max(abs(low), 1.0) if math.isfinite(low) else low
        inner_high = high - tiny * max(abs(high), 1.0) if math.isfinite(high) else high
        return value + (value.detach().clamp(inner_low, inner_high) - value.detach())

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value) - self.mass.log()


def bounds(support: Constraint | None) -> tuple[float, float]:
    """Lower and upper bound of a support; infinite where there is none."""
    lower = getattr(support, "lower_bound", -math.inf)
    upper = getattr(support, "upper_bound", math.inf)
    return float(lower), float(upper)


def between(low: float, high: float) -> Constraint:
    """The support from ``low`` to ``high``, either of which may be infinite.

    >>> between(0.0, math.inf)
    GreaterThan(lower_bound=0.0)
    """
    if math.isfinite(low) and math.isfinite(high):
        return constraints.interval(low, high)
    if math.isfinite(low):
        return constraints.greater_than(low)
    return constraints.less_than(high) if math.isfinite(high) else constraints.real
