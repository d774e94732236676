"""White Gaussian noise of channels that are measured unlike."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from groundvae.data.errors import InputError
from groundvae.models.noises.gaussian import Gaussian


class PerChannel(Gaussian):
    """White Gaussian noise with one learned scale (channel,) for each entry of the last axis.

    >>> PerChannel(3, scale=0.5).scale.shape
    torch.Size([3])

    Raises:
        InputError: ``channels`` is below 1, or not those of the mean.

    """

    def __init__(self, channels: int, scale: float = 0.1, *, rate_multiplier: float = 1.0) -> None:
        super().__init__(scale, rate_multiplier=rate_multiplier)
        if channels < 1:
            raise InputError(f"channels of a noise must be 1 or more, not {channels}")
        self.log_scale = nn.Parameter(torch.full((channels,), self._log(scale)))

    def each(self, mean: Tensor, observed: Tensor | None = None) -> dist.TorchDistribution:
        """Of every sample about its ``mean`` (..., channel).

        Raises:
            InputError: another number of channels.

        """
        if mean.shape[-1] != len(self.log_scale):
            raise InputError(
                f"the noise has {len(self.log_scale)} channels, but the last axis of the data "
                f"has {mean.shape[-1]}"
            )
        return super().each(mean, observed)

    def _refit(
        self, off: Tensor, observed: Tensor | None, ratio: float, times: Tensor | None
    ) -> None:
        """Each channel by its own squares: latents take from each in proportion to its samples."""
        if not self.log_scale.requires_grad:
            return
        there = torch.ones_like(off, dtype=torch.bool) if observed is None else observed
        axes = tuple(range(off.dim() - 1))
        samples = there.sum(axes)
        square = off.double().square().masked_fill(~there, 0.0).sum(axes) * ratio / samples
        log = (0.5 * square.log() / self.rate_multiplier).to(self.log_scale)
        self.log_scale.copy_(torch.where(samples > 0, log, self.log_scale))
