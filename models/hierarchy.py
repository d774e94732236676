"""Hierarchical priors: arguments that are unknown numbers, shared by all observations.

``omega ~ LogNormal(mu, s)`` with priors of ``mu`` and ``s``: the *hyperparameters* are global
sites of the Pyro program, outside the plate of the observations, and are inferred with the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions.constraints import Constraint

from groundvae.data.errors import InputError
from groundvae.models.truncated import Shape, bounds

Make = Callable[[Mapping[str, Tensor]], TorchDistribution]
GRID = 512  # draws of the hyperparameters that stand for their prior in the marginal density


class Hierarchical(TorchDistribution):
    """A prior given hyperparameters; by itself it is the marginal one, over their priors.

    Args:
        text: how it is written, such as ``LogNormal(loc=mu, scale=s)``.
        make: the distribution given values of the hyperparameters by name.
        hyper: the priors of the hyperparameters.

    Raises:
        InputError: the support depends on a hyperparameter.

    """

    arg_constraints = {}
    has_rsample = False

    def __init__(self, text: str, make: Make, hyper: Mapping[str, TorchDistribution]) -> None:
        super().__init__(torch.Size(), torch.Size(), validate_args=False)
        self.text, self.given, self.hyper = text, make, dict(hyper)
        self._drawn(torch.Size([64]), 0)  # refuses arguments out of range
        supports = {bounds(self._drawn(torch.Size(), seed).support) for seed in range(4)}
        if len(supports) > 1:
            raise InputError(f"the support of {text} depends on what is inferred, expected one")

    def _drawn(self, shape: torch.Size, seed: int) -> TorchDistribution:
        """The prior given a draw of the hyperparameters, the same for every seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.given({name: prior.sample(shape) for name, prior in self.hyper.items()})

    @property
    def support(self) -> Constraint | None:
        found: Constraint | None = self._drawn(torch.Size(), 0).support
        return found

    def expand(self, batch_shape: Shape, _instance: object = None) -> Hierarchical:
        return self

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        given = self.given({name: prior.sample(shape) for name, prior in self.hyper.items()})
        return given.sample()

    def log_prob(self, value: Tensor) -> Tensor:
        """Of the marginal prior, by draws of the hyperparameters: to about a hundredth."""
        grid = self._drawn(torch.Size([GRID]), 0)
        each = grid.log_prob(value.unsqueeze(-1))
        return torch.logsumexp(each, -1) - math.log(GRID)
