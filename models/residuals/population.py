"""Residuals whose weights have a population that is learned by evidence."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from groundvae.models.recipe import EVIDENCE
from groundvae.models.residuals.linear import LinearResidual


@dataclass(frozen=True)
class Statistics:
    """What n observations say of the whitened weights of one residual.

    Attributes:
        mean: posterior means (n, weight).
        told: how much of each prior variance the data take (n, weight), within 0 .. 1.
        information: of chosen weights (column,) -> (n, column, column), identity less covariance.
        auxiliary: ``z_aux`` at the points where this holds, (n, auxiliary).
        usual: which observations count (n,).
        imitation: how much of what a weight does the physics could do (weight,); None: as before.

    """

    mean: Tensor
    told: Tensor
    information: Callable[[Tensor], Tensor]
    auxiliary: Tensor
    usual: Tensor
    imitation: Tensor | None


class PopulationResidual(LinearResidual):
    """What the rounds of evidence ask of a residual."""

    recipe = EVIDENCE

    @abstractmethod
    def whitened(self, weights: Tensor, own: Tensor) -> Tensor:
        """The ``auxiliary`` (..., auxiliary) of weights (..., state, feature), given ``own`` (...).

        ``own`` is the observation's own variance of its push, 1 in the middle.
        """

    @abstractmethod
    def own(self, auxiliary: Tensor) -> Tensor:
        """The observation's own variance (...)."""

    @abstractmethod
    def scales(self, auxiliary: Tensor) -> Tensor:
        """``d weight / d z`` (..., state * feature) of each weight by the part of z that is its."""

    @property
    @abstractmethod
    def own_spread(self) -> Tensor:
        """Standard deviation () of the log of the observations' own variances."""

    @abstractmethod
    def blank(self) -> None:
        """All variances one, all means zero."""

    @abstractmethod
    def begin(self, effects: Tensor, spread: float) -> None:
        """First variances, from what a weight of one does (weight,) and the data's spread."""

    @abstractmethod
    def admit(self, scales: Tensor, rates: Tensor) -> None:
        """Take scales of states seen (seen,) and of rates acted on (state,); variances are one."""

    @abstractmethod
    def enter(self, effects: Tensor, spread: float) -> None:
        """First variances of the features of states, from the same (weight,) and spread."""

    @abstractmethod
    def settle(self, *, known: bool = True) -> None:
        """From here on, what is not known of the population counts as the observations' own.

        Not while it is learned: then it is not ``known`` yet.
        """

    @abstractmethod
    def trim(self, statistics: Statistics) -> Tensor:
        """Leave out what the data do not ask for; which numbers of ``z_aux`` stay (auxiliary,)."""

    @abstractmethod
    def refit_own(self, statistics: Statistics) -> tuple[Tensor, Tensor]:
        """The observations' own variances (n,), a step nearer, and how uncertain their logs are."""

    @abstractmethod
    def refit(self, statistics: Statistics, *, own: bool) -> Tensor:
        """Move the population to its fixed point; the observations' own variances (n,).

        ``own``: whether these move.
        """
