"""Priors in the precision and on the device of the data."""

from __future__ import annotations

from pyro.distributions import TorchDistribution
from torch import Tensor

from groundvae.models.mixture import Mixture
from groundvae.models.narrowed import Narrowed
from groundvae.models.truncated import Truncated


def like(prior: TorchDistribution, values: Tensor) -> TorchDistribution:
    """The same prior with its numbers as ``values`` has them; gradients are kept."""
    if isinstance(prior, Truncated):
        return Truncated(like(prior.base, values), prior.low, prior.high, check=False)
    if isinstance(prior, Narrowed):
        return Narrowed(like(prior.base, values), prior.shift, prior.scale)
    if isinstance(prior, Mixture):
        return Mixture(prior.given, [like(c, values) for c in prior.components])
    arguments = {k: getattr(prior, k).to(values) for k in prior.arg_constraints}
    return type(prior)(**arguments)
