"""Conditional flows of zuko's autoregressive splines, placed by a normal of full covariance.

Source: Durkan et al. (2019), Neural spline flows. Splines and networks are zuko's; here a draw
is scored by the last of its passes, where zuko's own flows evaluate the network once more.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from zuko.flows import MaskedAutoregressiveTransform
from zuko.transforms import AutoregressiveTransform, MonotonicRQSTransform

Bend = Any  # a Transform of torch with the ``call_and_ladj`` that zuko gives it
Shape = torch.Size | list[int] | tuple[int, ...]
PASSES = 4  # network evaluations of a draw, at most
EVERY = torch.Size()  # one draw of each distribution of the batch


class Splines(nn.Module):
    """Autoregressive splines: every latent is bent given those before it, and the context.

    A second transform has the order reversed. Up to ``PASSES`` latents each has a place of its
    own in the order; of more, groups share one, so that a draw takes no more passes.
    """

    def __init__(
        self, latents: int, context: int, *, transforms: int, bins: int, hidden: int
    ) -> None:
        super().__init__()
        order = torch.arange(latents)
        self.layers = nn.ModuleList(
            MaskedAutoregressiveTransform(
                latents,
                context,
                passes=min(latents, PASSES),
                order=order.flip(0) if i % 2 else order,
                univariate=MonotonicRQSTransform,
                shapes=[(bins,), (bins,), (bins - 1,)],
                hidden_features=(hidden, hidden),
            )
            for i in range(transforms)
        )

    def forward(self, context: Tensor) -> list[Bend]:
        return [layer(context) for layer in self.layers]


class PlacedFlow(Distribution):
    """mean + factor @ shape, where ``shape`` is a flow from a standard normal, (..., latent).

    The flow alone is a standard normal at first; with it, this is a normal of full covariance.
    Splines act on (-5, 5); outside, they leave values as they are.
    """

    has_rsample = True
    arg_constraints = {}
    support = constraints.real_vector

    def __init__(self, mean: Tensor, factor: Tensor, transforms: list[Bend]) -> None:
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)
        self.mean_of_base, self.factor, self.transforms = mean, factor, transforms

    def expand(self, batch_shape: Shape, _instance: Distribution | None = None) -> PlacedFlow:
        mean = self.mean_of_base.expand(*batch_shape, -1)
        return PlacedFlow(mean, self.factor, self.transforms)

    @property
    def _log_scale(self) -> Tensor:
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def rsample_and_log_prob(self, shape: Shape = EVERY) -> tuple[Tensor, Tensor]:
        """Draws and their log density, for the price of the draws."""
        value = torch.randn(
            *shape, *self.mean_of_base.shape, dtype=self.factor.dtype, device=self.factor.device
        )
        log_prob = _standard(value) - self._log_scale
        for transform in reversed(self.transforms):
            value, log_det = _invert(transform, value)
            log_prob = log_prob + log_det
        placed = self.mean_of_base + torch.einsum("...ij,...j->...i", self.factor, value)
        return placed, log_prob

    def rsample(self, sample_shape: Shape = EVERY) -> Tensor:
        return self.rsample_and_log_prob(sample_shape)[0]

    def log_prob(self, value: Tensor) -> Tensor:
        around = (value - self.mean_of_base).unsqueeze(-1)
        value = torch.linalg.solve_triangular(self.factor, around, upper=False).squeeze(-1)
        total = -self._log_scale
        for transform in self.transforms:
            value, log_det = transform.call_and_ladj(value)
            total = total + log_det
        return _standard(value) + total


def _standard(value: Tensor) -> Tensor:
    """Log density of a standard normal, (..., latent) to (...)."""
    return -0.5 * (value.square() + 1.8378770664093453).sum(-1)


def _invert(transform: Bend, value: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse at ``value``, and the log-determinant of the transform there.

    The last pass of an autoregressive inverse knows the spline that belongs to its result.
    """
    if not isinstance(transform, AutoregressiveTransform):  # of a single latent
        bent = transform.inv(value)
        return bent, transform.call_and_ladj(bent)[1]
    before = torch.zeros_like(value)
    for _ in range(transform.passes):
        spline = transform.meta(before)
        before = spline.inv(value)
    return before, spline.call_and_ladj(before)[1]
