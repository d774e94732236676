"""Laws without time: one pure function from latents (and places) to an observation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from groundvae.models.kinds import kind_named
from groundvae.models.system import KINDS, Outcome, Push, System
from groundvae.models.trial import Trial
from groundvae.models.values import Values


class Function(System):
    """A system whose observation is ``predict(z, inputs)``.

    Every latent comes with as many trailing axes of length one as an observation has axes, and
    every coordinate along its own axis, so that they broadcast to an observation.
    """

    @abstractmethod
    def predict(self, z: Values, inputs: Values) -> Tensor:
        """What is observed, without noise, (..., *event)."""

    def pushable(self) -> Mapping[str, int | None]:
        return {**super().pushable(), **dict.fromkeys((*self.inputs, *self.coordinates), 1)}

    def attempt(self, trial: Trial) -> None:
        latents, known = trial.z.with_axes(len(self.axes)), self._placed(trial.inputs)
        predicted = trial.ask(self.predict, latents, known)
        trial.shaped(self.predict, predicted, trial.lead + trial.event)

    def outcomes(
        self, z: Values, inputs: Values, pushes: Sequence[Push], lead: torch.Size, ablations: int
    ) -> list[Outcome]:
        latents, known = z.with_axes(len(self.axes)), self._placed(inputs)
        each = [self._moved(known, pushes), known][:ablations]
        times = {"t": inputs["t"]} if "t" in inputs else {}  # residuals on series read these
        return [
            Outcome(self._filled(latents, k, lead), Values({}, "state"), k.replaced(times))
            for k in each
        ]

    def _filled(self, z: Values, inputs: Values, lead: torch.Size) -> Tensor:
        predicted = self.predict(z, inputs)
        return predicted.expand(*lead, *predicted.shape[-len(self.axes) :])

    def _placed(self, inputs: Values) -> Values:
        """Coordinates along their axes: (row, 1, 1), (column, 1), (band,)."""
        places = {}
        for name, axis in self.coordinates.items():
            if name in inputs:
                behind = len(self.axes) - 1 - self.axes.index(axis)
                places[name] = inputs[name][(..., *[None] * behind)]
        return inputs.replaced(places)

    def _moved(self, inputs: Values, pushes: Sequence[Push]) -> Values:
        """Inputs with what residuals add to them."""
        for push in pushes:
            added = push(torch.zeros(()), Values({}, "state"))
            index = (..., *[None] * len(self.axes))
            inputs = inputs.replaced({k: inputs[k] + v[index] for k, v in added.items()})
        return inputs


class Nothing(Function):
    """No law at all: an observation is what the residuals make it. ``like`` has its axes."""

    physics = False

    def __init__(self, like: type[System] | str) -> None:
        super().__init__()
        like = kind_named(like, KINDS.values()) if isinstance(like, str) else like
        for name in ("axes", "coordinates", "labels", "quantity", "unit", "limits", "chunk"):
            setattr(self, name, getattr(like, name))
        self.template = like

    @property
    def channels(self) -> int:
        return self.template.channels.fget(self.template())  # type: ignore[attr-defined]

    def predict(self, z: Values, inputs: Values) -> Tensor:
        return next(iter(inputs.values())).new_zeros([1] * len(self.axes))
