"""Counts."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor

from groundvae.data.errors import InputError
from groundvae.models.noises.noise import Linearized
from groundvae.models.noises.white import White

LINKS = ("identity", "log")


class Poisson(White):
    """Poisson counts: the mean is their rate, or its log where ``link`` is "log".

    Nothing is learned. ``scale`` is what figures and penalties take for a typical deviation: as
    given, then what ``refit`` finds. It cannot be held, and ``sharpen`` leaves counts as they are.

    >>> Poisson(link="log")(torch.zeros(4, 3), event_dim=1).mean[0]
    tensor([1., 1., 1.])

    Raises:
        InputError: an unknown link; a rate that is not positive; data that are not counts.

    """

    def __init__(
        self, *, link: str = "identity", scale: float = 1.0, rate_multiplier: float = 1.0
    ) -> None:
        super().__init__(rate_multiplier)
        if link not in LINKS:
            raise InputError(f"link of a Poisson noise must be one of {LINKS}, not {link!r}")
        self.link = link
        self.register_buffer("log_scale", torch.tensor(self._log(scale)))

    def hold(self, scale: float) -> None:
        """Refuse: a rate has no scale of its own.

        Raises:
            InputError: always.

        """
        raise InputError(f"the scale of Poisson noise follows from its rate: it cannot be {scale}")

    def sharpen(self, factor: float) -> None:
        """Do nothing: counts are as sharp as their rate makes them."""

    def each(self, mean: Tensor, observed: Tensor | None = None) -> dist.TorchDistribution:
        return dist.Poisson(self._rate(mean, observed))

    def forward(
        self,
        mean: Tensor,
        *,
        event_dim: int,
        observed: Tensor | None = None,
        times: Tensor | None = None,
    ) -> dist.TorchDistribution:
        if self.link == "identity":
            _check_rate(_where(mean, observed), mean.dim() - event_dim - 1)
        return super().forward(mean, event_dim=event_dim, observed=observed)

    def score(self, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        rate = self._rate(mean, None)
        root = rate.rsqrt() if self.link == "identity" else rate.sqrt()
        return (x - rate) * rate.rsqrt(), root

    @torch.no_grad()
    def linearize(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Linearized:
        _check_counts(x)
        return super().linearize(x, _where(mean, observed), observed)

    def log_prob(
        self,
        x: Tensor,
        mean: Tensor,
        observed: Tensor | None = None,
        *,
        times: Tensor | None = None,
    ) -> Tensor:
        _check_counts(x)
        return super().log_prob(x, mean, observed)

    def _rate(self, mean: Tensor, observed: Tensor | None) -> Tensor:
        if self.link == "log":
            return mean.exp()
        rate = _where(mean, observed)
        _check_rate(rate, rate.dim() - observed.dim() if observed is not None else 0)
        return rate

    def _refit(
        self, off: Tensor, observed: Tensor | None, ratio: float, times: Tensor | None
    ) -> None:
        """Only the typical deviation."""
        there = off if observed is None else off[observed]
        square = ratio * float(there.double().square().mean())
        self.log_scale.fill_(self._log(math.sqrt(square)))


def _where(mean: Tensor, observed: Tensor | None) -> Tensor:
    """The mean, and 1 where nothing was observed."""
    return mean if observed is None else mean.where(observed, mean.new_ones(()))


def _check_rate(rate: Tensor, axis: int) -> None:
    """Refuse rates that are not positive; ``axis`` is that of the observations."""
    wrong = ~(rate > 0)
    if bool(wrong.any()):
        place = wrong.nonzero()[0]
        where = f"observation {int(place[axis])}" if axis >= 0 else "the observation"
        raise InputError(
            f"rates of Poisson noise must be positive, but the mean of {where} is "
            f"{float(rate[tuple(place)]):.3g}: let the model return a positive mean, or take "
            'link="log"'
        )


def _check_counts(x: Tensor) -> None:
    wrong = (x < 0) | (x != x.round())
    if bool(wrong.any()):
        place = wrong.nonzero()[0]
        raise InputError(
            f"Poisson noise needs counts 0, 1, 2, ..., but observation {int(place[0])} holds "
            f"{float(x[tuple(place)]):.3g}"
        )
