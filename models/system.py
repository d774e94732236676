"""What a system supplies to the one Pyro program: its latents and a decoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.models.latent import LatentSpec


@dataclass(frozen=True)
class Decoded:
    """Noiseless observations under one draw of the latents, each ``(..., *event)``.

    ``full`` is x_AB of the paper (eq. 6), ``physics`` the reduced model x_P (eq. 7; None where
    there is no physics), ``partial`` the models in between: with the residual in the dynamics
    alone (``"dynamics"``, x_A) and with the one on the observation alone (``"observation"``, x_B).
    """

    full: Tensor
    physics: Tensor | None = None
    partial: Mapping[str, Tensor] = field(default_factory=dict)


class System(nn.Module):
    """Physics, residuals and solver of one system; subclasses fill in ``decode``.

    Attributes:
        latents: the physics latents and their priors.
        auxiliary: dimension of the auxiliary latent ``z_aux``; 0 where no residual uses it.
        event_dim: number of axes of one observation: 1 series, 2 (time, channel), 3 images.
        channels: values observed at each time, or bands of an image, where there are several.
        grounded: whether there is physics, and so a reduced model.

    """

    latents: LatentSpec
    auxiliary: int
    grounded: bool
    event_dim: int = 1
    channels: int = 1

    @abstractmethod
    def decode(
        self,
        physics: Mapping[str, Tensor],
        auxiliary: Tensor | None,
        inputs: Mapping[str, Tensor],
        *,
        reduced: bool = True,
    ) -> Decoded:
        """Decode latents of shape ``(...)`` and ``(..., auxiliary)``.

        ``reduced=False`` leaves out ``physics`` and ``partial`` where they cost time.
        """

    def log_prior(self) -> Tensor | float:
        """Log density (nats) of weights that have a prior of their own; the others have none."""
        return 0.0

    def augment(self, batch: Batch) -> Batch:
        """Observations that are as likely as those of the batch, to train on in their place.

        By default the batch itself; a system whose law has a symmetry draws from it.
        """
        return batch


def from_start(times: Tensor, start: str) -> Tensor:
    """The times with t = 0, where the state is known, put in front where it is missing.

    ``start`` says in an error what happens then, such as "the release".
    """
    if times[0] < 0:
        raise InputError(f"t starts at {float(times[0]):g} s, before {start} at t = 0 s")
    return times if times[0] == 0 else torch.cat([times.new_zeros(1), times])


def gate(worlds: int, like: Tensor) -> Tensor:
    """One for the first of several worlds solved together, zero for the rest, (world, 1, ...)."""
    first = like.new_zeros(worlds, *[1] * like.dim())
    first[0] = 1.0
    return first
