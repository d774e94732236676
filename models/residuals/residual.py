"""The Residual: what the physics leaves out, added to a state's rate, an input or what is observed.

A residual declares what it acts on and what it may see; the model adds it where it acts, and
leaves it out where the physics alone is asked for. It is *bound* to the latents of a batch once a
solve; the bound residual is then asked at every stage of the solver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.models.recipe import USUAL, Recipe
from groundvae.models.registry import Registry
from groundvae.models.system import OBSERVATION, Push, System
from groundvae.models.values import Values
from groundvae.models.written import Written


@dataclass(frozen=True)
class Seen:
    """What a residual is bound to.

    ``auxiliary`` (..., auxiliary) is its own part of ``z_aux``; ``latents`` and ``inputs`` are
    those of the physics; ``units`` (...) multiplies a force that is given in units of the
    system's own, 1 where it is not; ``stages`` (stage,), s, are the times at which a solver will
    ask, where it knows them before.
    """

    auxiliary: Tensor
    latents: Values
    inputs: Values
    units: Tensor | float = 1.0
    stages: Tensor | None = None


class Residual(nn.Module, Written):
    """One term beside the physics.

    Attributes:
        acts_on: names of states (added to their rates), of inputs (added to them), or
            ``"observation"`` (added to what is observed); one name or several.
        sees: names of states, inputs, latents and ``"t"``.
        auxiliary: how many numbers of ``z_aux`` are its own.
        units: a method of the system that gives the unit of the push; "" for none.
        recipe: how a model with it is fitted where nothing else is said.

    Raises:
        InputError: it acts on nothing.

    """

    acts_on: tuple[str, ...]
    sees: tuple[str, ...]
    auxiliary: int
    units: str = ""
    recipe: ClassVar[Recipe] = USUAL

    def __init__(
        self, acts_on: str | tuple[str, ...], sees: tuple[str, ...], auxiliary: int
    ) -> None:
        super().__init__()
        self.acts_on = (acts_on,) if isinstance(acts_on, str) else tuple(acts_on)
        self.sees = tuple(sees)
        self.auxiliary = auxiliary
        if not self.acts_on:
            raise InputError(f"{type(self).__name__} acts on nothing, expected a name")

    @property
    def inside(self) -> tuple[str, ...]:
        """What it acts on before anything is observed: states and inputs."""
        return tuple(name for name in self.acts_on if name != OBSERVATION)

    @property
    def outside(self) -> bool:
        """Whether it is added to what is observed."""
        return OBSERVATION in self.acts_on

    def attach(self, system: System) -> None:
        """Called when a model is put together; here sizes that depend on the system are made.

        Raises:
            InputError: it acts on, sees or is measured in what the system does not have.

        """
        kind, owner = type(self).__name__, type(system).__name__
        for verb, names, known in (
            ("acts on", self.acts_on, tuple(system.pushable())),
            ("sees", self.sees, system.visible()),
        ):
            wrong = [name for name in names if name not in known]
            if wrong:
                raise InputError(
                    f"{kind} {verb} {wrong[0]!r}, which {owner} does not have, known: "
                    f"{', '.join(known)}"
                )
        if self.units and not callable(getattr(system, self.units, None)):
            raise InputError(f"{kind} is in units of {self.units!r}, which {owner} does not have")

    def prepare(self, batch: Batch) -> None:
        """Take sizes and scales from the data, before a guide is built."""

    def reach(self, until: float) -> None:
        """Called before times up to ``until``, s, beyond the data are asked for."""

    def bind(self, seen: Seen) -> Push:
        """What is added to each of ``inside``, for latents (...)."""
        raise NotImplementedError(f"{type(self).__name__} acts on no state and no input")

    def add(self, seen: Seen, states: Values) -> Tensor:
        """What is added to the observation, (..., *event).

        ``states`` are those at the times of the data, (..., time) or on a grid (..., time, size);
        those of a system without time are empty.
        """
        raise NotImplementedError(f"{type(self).__name__} does not act on the observation")

    def log_prior(self) -> Tensor | float:
        """Log density (), nats, of learned weights that have a prior; the others have none."""
        return 0.0


RESIDUALS: Registry[type[Residual]] = Registry("residual", "groundvae.residuals")
