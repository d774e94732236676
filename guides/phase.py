"""Phases of a fit, as values: what each does, how long, and what validates it.

A guide declares the phases of its own fit; the training loop takes them one after the other and
asks nothing about the guide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.simulation import Simulator
from groundvae.guides.state import State
from groundvae.models.greybox import GreyBox
from groundvae.models.recipe import FitOptions

if TYPE_CHECKING:
    from groundvae.guides.guide import Guide

SLEEP = "hybrid_simulation"  # the penalty that can train the guide without a model's gradient
Terms = Mapping[str, Tensor]
"""Named terms of a loss; ``"loss"`` is what is differentiated."""


class Ending(Enum):
    """How a fit ended."""

    FINISHED = "finished"
    PLATEAU = "no better validation ELBO"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"


class Objective(Protocol):
    """What a fit makes small, as guides see it; pure functions of what they are given."""

    def joint(
        self, fitting: Fitting, guide: Guide, batch: Batch, kl_weight: float, found: object = None
    ) -> Terms:
        """The loss of model and guide together; ``found``: what the guide has in a batch."""

    def asleep(self, fitting: Fitting, guide: Guide, batch: Batch) -> Terms:
        """The loss of a guide alone, on simulations of the model as it is."""

    def sleeps(self, model: GreyBox, guide: Guide) -> bool:
        """Whether there is such a loss."""

    def sleep_weight(self) -> float:
        """The weight that simulations have in the joint loss."""


@dataclass(frozen=True)
class Fitting:
    """What a fit is about: given to each phase when it begins."""

    model: GreyBox
    objective: Objective
    train: Batch
    options: FitOptions
    simulator: Simulator


class Steps(Protocol):
    """A phase under way; it may be ``done`` before its steps are taken."""

    done: bool

    def step(self, number: int) -> Mapping[str, float]:
        """Take one step (from 1); its named terms.

        Raises:
            NonFiniteError: naming the term; everything is left as it was.

        """

    def state(self) -> State:
        """What it takes to go on from here, beside the parameters of model and guide."""

    def restore(self, state: State) -> None:
        """Go on from a ``state``; this is the phase as it began, model and guide as they were."""


@dataclass(frozen=True)
class Phase:
    """A part of a fit.

    ``guide`` answers in validation. A ``validated`` phase trains the model too: its states are
    compared by validation ELBO, and it ends early where none is better, once ``rising`` steps
    are taken. ``begin`` is called before its first step, and may set the model up; a fit that is
    resumed calls it again, with the model and the random numbers as they were.
    """

    name: str
    steps: int
    guide: Guide
    begin: Callable[[Fitting], Steps]
    validated: bool = False
    rising: int = 0
