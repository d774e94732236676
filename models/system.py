"""What is known of one observation: a system of named latents and a law.

A system is declared: its latents are class attributes, its law a pure function. It says nothing
of residuals, of what is left out when they are taken away, or of time grids: that is the model's
(``greybox.py``). Kinds of systems: ``Dynamics`` (a law of motion, of points or of fields on a
grid) and ``Function`` (one function from latents to an observation).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.data.input import Input
from groundvae.models.latent import Latent, LatentSpec
from groundvae.models.trial import Trial
from groundvae.models.values import Values
from groundvae.models.written import Written

OBSERVATION = "observation"
"""What a residual acts on that is added to what is observed."""

Push = Callable[[Tensor, Values], Mapping[str, Tensor]]
"""A residual bound to latents: takes a time and the states at it, each ``(...)`` (on a grid
``(..., size)``), gives what is added to each name that it acts on, of its shape. Times may be
many: then with as many axes as the states."""


@dataclass(frozen=True)
class Outcome:
    """What a law gives: ``observed`` (..., *event), without noise, and what led to it.

    ``states`` are those at the samples, (..., time) or (..., time, size); ``inputs`` those that
    it had, residuals that act on inputs included.
    """

    observed: Tensor
    states: Values
    inputs: Values


class System(nn.Module, Written):
    """The latents of an observation, what its axes are, and the law.

    Attributes:
        latents: the physics latents and their priors, from the class's ``Latent`` attributes.
        inputs: what is known beside an observation, from its ``Input`` attributes.
        axes: of one observation, such as ``("time",)`` or ``("row", "column", "band")``.
        coordinates: which array of a data file labels which axis.
        labels: names of an axis' entries, where they have names.
        quantity, unit: what is observed.
        time_unit: of the data's times, and so of the law's rates.
        limits: of what is observed; beyond, a file is in other units.
        physics: whether there is a law, and so a model without residuals to compare with.
        sizes: of its states, by name, where it has any.
        on_grid: whether states have an axis of their own: fields, vectors.
        keeps_energy: whether the law keeps ``energy``.
        chunk: how many observations are computed at once where no gradient is asked for.

    Raises:
        InputError: on declaration, a latent or an input whose name is taken.

    """

    axes: ClassVar[tuple[str, ...]] = ("time",)
    coordinates: ClassVar[Mapping[str, str]] = {"t": "time"}
    labels: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    quantity: ClassVar[str] = "x"
    unit: ClassVar[str] = ""
    time_unit: ClassVar[str] = "s"
    limits: ClassVar[tuple[float, float]] = (-float("inf"), float("inf"))
    physics: ClassVar[bool] = True
    keeps_energy: ClassVar[bool] = False
    chunk: ClassVar[int | None] = None
    on_grid: ClassVar[bool] = False
    sizes: ClassVar[dict[str, int]] = {}
    declared: ClassVar[dict[str, Latent]] = {}
    inputs: ClassVar[dict[str, Input]] = {}
    latents: LatentSpec

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        members = {k: v for c in reversed(cls.__mro__) for k, v in vars(c).items()}
        own = [k for c in cls.__mro__ for k in vars(c)]
        ordered = {k: members[k] for k in own}
        cls.declared = {k: v for k, v in ordered.items() if isinstance(v, Latent)}
        cls.inputs = {k: v for k, v in ordered.items() if isinstance(v, Input)}
        taken = sorted({*cls.declared, *cls.inputs} & {"x", "t", "z_aux", *dir(nn.Module)})
        if taken:
            raise InputError(f"{cls.__name__} has a latent or an input named {taken[0]!r}: taken")
        KINDS[f"{cls.__module__}:{cls.__qualname__}"] = cls

    def __init__(self) -> None:
        super().__init__()
        self.latents = LatentSpec(tuple(self.declared.values()))

    @property
    def units(self) -> dict[str, str]:
        """Of what is observed, and of the inputs, by the names of their arrays."""
        return {"x": self.unit, **{name: i.unit for name, i in self.inputs.items()}}

    @property
    def event_dim(self) -> int:
        """Number of axes of one observation."""
        return len(self.axes)

    def pushable(self) -> Mapping[str, int | None]:
        """What a residual may act on, and how many numbers that takes (None: one observation)."""
        return {OBSERVATION: None}

    def visible(self) -> Mapping[str, int]:
        """What a residual may see beside its own latents, and how many numbers that has."""
        return dict.fromkeys((*self.declared, *self.inputs, *self.coordinates), 1)

    @property
    def channels(self) -> int:
        """Entries of an observation's last axis, where that is not its only one."""
        if len(self.axes) == 1:
            return 1
        return len(self.labels[self.axes[-1]])

    @abstractmethod
    def outcomes(
        self, z: Values, inputs: Values, pushes: Sequence[Push], lead: torch.Size, ablations: int
    ) -> list[Outcome]:
        """What latents (...) of the shape ``lead`` give: with the pushes, and if two ablations
        are asked for, without them.
        """

    def attempt(self, trial: Trial) -> None:
        """What a trial asks of the law, once; it refuses what will not do.

        Raises:
            InputError: naming file, line, state and latents.

        """

    def stages(self, inputs: Values) -> Tensor | None:
        """The times (stage,), s, at which residuals will be asked, where they are known."""
        return None

    def log_prior(self) -> Tensor | float:
        """Log density (), nats, of learned weights that have a prior; the others have none."""
        return 0.0

    def augment(self, batch: Batch) -> Batch:
        """Observations that are as likely as those of the batch, to train on in their place.

        By default the batch itself; a system whose law has a symmetry draws from it.
        """
        return batch

    @staticmethod
    def derive(
        draws: Mapping[str, np.ndarray], known: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[np.ndarray, str, str]]:
        """Quantities that follow from latents: values (..., observation), unit and meaning.

        ``known`` (observation,), what the data file holds beside; by default nothing follows.
        """
        return {}

    def energy(self, states: Tensor, z: Values) -> Tensor:
        """What the law keeps, (...) of states (..., dimension), where it ``keeps_energy``."""
        raise NotImplementedError(f"{type(self).__name__} is not known to keep an energy")


KINDS: dict[str, type[System]] = {}
"""Every class of systems by module and name, ours and those of files that were read."""


def filled(value: Tensor | float, like: Tensor) -> Tensor:
    """A value of a law as a tensor of the shape of ``like``."""
    if isinstance(value, Tensor):
        return value if value.shape == like.shape else value.expand(like.shape)
    return torch.full_like(like, value)
