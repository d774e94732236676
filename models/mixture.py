"""A mixture of distributions on one support."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions.constraints import Constraint

from groundvae.data.errors import InputError
from groundvae.models.truncated import Shape, bounds


class Mixture(TorchDistribution):
    """Each draw is from one of the ``components``, picked in proportion to its weight.

    >>> from pyro.distributions import Normal
    >>> two = Mixture([1.0, 3.0], [Normal(-1.0, 0.1), Normal(1.0, 0.1)])
    >>> [round(w, 2) for w in two.weights.tolist()]
    [0.25, 0.75]

    Raises:
        InputError: fewer than two components, weights not above 0, or different supports.

    """

    arg_constraints = {}
    has_rsample = False

    def __init__(self, weights: Sequence[float], components: Sequence[TorchDistribution]) -> None:
        if len(components) < 2 or len(weights) != len(components):
            raise InputError("a Mixture needs two or more pairs of a weight and a distribution")
        if not all(weight > 0 for weight in weights):
            raise InputError("the weights of a Mixture must be above 0")
        if len({bounds(component.support) for component in components}) > 1:
            raise InputError("the components of a Mixture need one support, cut with Truncated")
        self.given = tuple(weights)
        self.weights = torch.tensor(weights) / sum(weights)
        self.components = tuple(components)
        super().__init__(components[0].batch_shape, components[0].event_shape, validate_args=False)

    @property
    def support(self) -> Constraint | None:
        found: Constraint | None = self.components[0].support
        return found

    def expand(self, batch_shape: Shape, _instance: object = None) -> Mixture:
        return Mixture(self.given, [c.expand(torch.Size(batch_shape)) for c in self.components])

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        drawn = torch.stack([c.sample(torch.Size(sample_shape)) for c in self.components])
        pick = torch.multinomial(self.weights, drawn[0].numel(), replacement=True)
        chosen: Tensor = drawn.gather(0, pick.view(1, *drawn.shape[1:]).to(drawn.device))[0]
        return chosen

    def log_prob(self, value: Tensor) -> Tensor:
        each = torch.stack([c.log_prob(value) for c in self.components], -1)
        return torch.logsumexp(each + self.weights.to(each).log(), -1)
