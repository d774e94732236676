"""White noise with outliers."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from groundvae.data.errors import InputError
from groundvae.models.noises.white import White

LEAST = 2.0  # degrees of freedom: below, there is no standard deviation
ROUNDS = 40
SAMPLES = 50_000  # that tell the degrees of freedom; more tell them no better than needed


class StudentT(White):
    """White Student-t noise: ``scale`` is its standard deviation, in units of the data.

    ``df`` degrees of freedom, above 2, ``learned`` or given: the fewer, the more outliers. A
    search gets Fisher's information, ``(df + 1) / (df + 3)`` over the squared width.
    Source: Lange, Little & Taylor (1989), Robust statistical modeling using the t distribution.

    >>> round(StudentT(scale=0.5).scale.item(), 3)
    0.5

    Raises:
        InputError: ``df`` is not above 2.

    """

    log_excess: Tensor

    def __init__(
        self,
        scale: float = 0.1,
        *,
        df: float = 4.0,
        learned: bool = False,
        rate_multiplier: float = 1.0,
    ) -> None:
        super().__init__(rate_multiplier)
        if not LEAST < df < math.inf:
            raise InputError(f"df of a Student-t noise must be above 2, not {df}")
        self.log_scale = nn.Parameter(torch.tensor(self._log(scale)))
        self.log_excess = nn.Parameter(torch.tensor(math.log(df - LEAST)), requires_grad=learned)

    @property
    def df(self) -> Tensor:
        """Degrees of freedom, ()."""
        return LEAST + self.log_excess.exp()

    @property
    def width(self) -> Tensor:
        """The scale parameter () of the distribution, below its standard deviation."""
        return self.scale * (self.log_excess.exp() / self.df).sqrt()

    def each(self, mean: Tensor, observed: Tensor | None = None) -> dist.TorchDistribution:
        return dist.StudentT(self.df, mean, self.width)

    def score(self, x: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        df, off = self.df, (x - mean) / self.width
        root = ((df + 1) / (df + 3)).sqrt() / self.width
        slope = (df + 1) * off / (df + off.square()) / self.width
        return slope / root, root.expand(x.shape)

    def _refit(
        self, off: Tensor, observed: Tensor | None, ratio: float, times: Tensor | None
    ) -> None:
        """Expectation maximization, df by its own likelihood at each round (ECME, Liu 1994)."""
        square = ratio * (off if observed is None else off[observed]).double().square()
        some = square.flatten()[:: math.ceil(square.numel() / SAMPLES)]
        df, width = self.df.double(), self.width.double().square()
        for step in range(ROUNDS):
            if self.log_scale.requires_grad:
                width = ((df + 1) * square / (df + square / width)).mean()
            if self.log_excess.requires_grad:
                df = _best_df(some, df, width, 0.85**step, held=not self.log_scale.requires_grad)
            if not self.log_scale.requires_grad:  # the standard deviation stays
                width = self.scale.double().square() * (df - LEAST) / df
        self.log_excess.copy_((df - LEAST).log())
        if self.log_scale.requires_grad:
            self.log_scale.fill_(self._log(math.sqrt(width * df / (df - LEAST))))


def _best_df(square: Tensor, df: Tensor, width: Tensor, reach: float, *, held: bool) -> Tensor:
    """Degrees of freedom of largest likelihood at one squared width, among 21 near ``df``.

    ``reach`` is that of the log of ``df - 2``. Where the standard deviation is ``held``, the
    width is that of each candidate.
    """
    around = torch.linspace(-reach, reach, 21, dtype=df.dtype, device=df.device)
    excess = (df - LEAST) * around.exp()
    tried = (LEAST + excess).unsqueeze(-1)
    deviation = width * df / (df - LEAST)
    widths = deviation * (excess / (LEAST + excess)).unsqueeze(-1) if held else width
    noise = dist.StudentT(tried, 0.0, torch.as_tensor(widths).sqrt(), validate_args=False)
    return tried[noise.log_prob(square.sqrt()).mean(-1).argmax(), 0]
