"""White noise: samples are independent given the mean."""

from __future__ import annotations

from abc import abstractmethod

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from groundvae.models.noises.noise import Linearized, Noise


class White(Noise):
    """A noise that is told by the distribution of one sample, and by its Fisher information."""

    @abstractmethod
    def each(self, mean: Tensor, observed: Tensor | None = None) -> TorchDistribution:
        """The distribution of each sample, its batch shape that of ``mean``."""

    @abstractmethod
    def score(self, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Slope of the log density over the root of its Fisher information, and that root."""

    def forward(
        self,
        mean: Tensor,
        *,
        event_dim: int,
        observed: Tensor | None = None,
        times: Tensor | None = None,
    ) -> TorchDistribution:
        noise = self.each(mean, observed)
        return (noise if observed is None else noise.mask(observed)).to_event(event_dim)

    @torch.no_grad()
    def linearize(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Linearized:
        residual, root = self.score(x, mean)
        if observed is not None:
            residual = residual.where(observed, residual.new_zeros(()))
            root = root.where(observed, root.new_zeros(()))
        column = root.flatten(1).unsqueeze(-1)
        return Linearized(residual.flatten(1), lambda jacobian: column * jacobian)

    def pointwise(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Tensor:
        density: Tensor = self.each(mean, observed).log_prob(x)
        return density if observed is None else density.masked_fill(~observed, torch.nan)

    def sample(self, mean: Tensor, *, times: Tensor | None = None) -> Tensor:
        drawn: Tensor = self.each(mean).sample()
        return drawn
