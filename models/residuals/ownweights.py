"""Weights of the observation's own, as an affine function of standard normal ``z_aux``."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from groundvae.models.residuals.patterns import Patterns
from groundvae.models.residuals.population import PopulationResidual
from groundvae.models.residuals.spectrum import Spectrum


class OwnWeights(PopulationResidual):
    """``w_k = sqrt(own) scale_k z_k`` of time, ``d_j = mean_j + scale_j z_j`` of states.

    The first number of ``z_aux`` is the score of ``own``, whose log is normal in the population.
    """

    log_power: nn.Parameter  # (state, knot) of the spectrum
    log_constant: nn.Parameter  # (state,), of the first feature of time
    log_variance: nn.Parameter  # (state, feature), of features of states
    log_own_spread: nn.Parameter
    mean: nn.Parameter  # (state, feature), of features of states
    settled: Tensor  # whether what is not known of the means counts as the observations' own
    uncertainty: Tensor  # covariance of the means
    finer: int  # frequencies in place of one
    chosen: Tensor  # places of the functions of time that are kept, among all of them

    @property
    @abstractmethod
    def waves(self) -> Spectrum | Patterns:
        """The functions of time."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """What the features of the states are, each over its state's scale."""

    def weights(self, auxiliary: Tensor) -> Tensor:
        timed, states = self._parts(auxiliary)
        states = (states.flatten(-2) @ self.root.mT).unflatten(-1, self.mean.shape)
        own = self.own(auxiliary).sqrt()[..., None, None]
        return torch.cat([own * self._sd_timed * timed, self.mean + states], -1)

    def whitened(self, weights: Tensor, own: Tensor) -> Tensor:
        score = (torch.log(own) / self.own_spread).unsqueeze(-1)
        timed, states = weights.split([self.timed, len(self.names)], -1)
        timed = timed / (own.sqrt()[..., None, None] * self._sd_timed)
        states = (states - self.mean).flatten(-2).unsqueeze(-1)
        states = torch.linalg.solve_triangular(self.root, states, upper=False)
        z = torch.cat([timed, states.squeeze(-1).unflatten(-1, self.mean.shape)], -1)
        return torch.cat([score, z.flatten(-2)], -1)

    def own(self, auxiliary: Tensor) -> Tensor:
        return torch.exp(self.own_spread * auxiliary[..., 0])

    @property
    def own_spread(self) -> Tensor:
        """Standard deviation () of the log of the observations' own variances."""
        return self.log_own_spread.exp()

    def stretched(self, columns: Tensor, auxiliary: Tensor) -> Tensor:
        timed, states = columns.unflatten(-1, (-1, self.count)).split(
            [self.timed, len(self.names)], -1
        )
        own = self.own(auxiliary).sqrt()[..., None, None, None]
        states = (states.flatten(-2) @ self.root).unflatten(-1, self.mean.shape)
        return torch.cat([own * self._sd_timed * timed, states], -1).flatten(-2)

    def _parts(self, auxiliary: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened weights of features of time and of the states, (..., state, feature) each."""
        z = auxiliary[..., 1:].unflatten(-1, (len(self.acts_on), self.count))
        timed, states = z.split([self.timed, len(self.names)], -1)
        return timed, states

    @property
    def _sd_timed(self) -> Tensor:
        """Standard deviations (state, feature) of weights of time, of a usual observation."""
        return self.variance[:, : self.timed].sqrt()

    @property
    def root(self) -> Tensor:
        """Lower factor of the covariance of all weights of states, (weight, weight)."""
        variance = self.variance[:, self.timed :].flatten()
        if not self.settled:
            return torch.diag(variance.sqrt())
        return torch.linalg.cholesky(torch.diag(variance) + self.uncertainty)

    def scales(self, auxiliary: Tensor) -> Tensor:
        own = self.own(auxiliary).sqrt()[..., None, None]
        states = self.root.diagonal().view(self.mean.shape).expand(*own.shape[:-2], -1, -1)
        return torch.cat([own * self._sd_timed, states], -1).flatten(-2)

    @property
    def variance(self) -> Tensor:
        """Variances of the weights in the population, (state, feature)."""
        return torch.cat([self.power[:, self.chosen], self.log_variance.exp()], -1)

    @property
    def power(self) -> Tensor:
        """Variances of the weights of all functions of time, (state, function)."""
        groups = self.groups.to(self.log_power)
        logs = torch.cat([self.log_constant.unsqueeze(-1), self.log_power], -1) @ groups.T
        kept = torch.isin(torch.arange(len(groups)), self.chosen).to(logs)
        return kept * torch.exp(logs - math.log(self.finer) * (1 - groups[:, 0]))

    @property
    def groups(self) -> Tensor:
        """How much of each group's log power a function of time has, (function, group).

        The constant is the first group, the others are the knots of the spectrum.
        """
        waves = self.waves
        return torch.block_diag(torch.ones(1, 1).double(), waves.hats)[: waves.count]
