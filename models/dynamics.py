"""Laws of motion: named states, how they begin, how they change, and which of them is observed.

``Dynamics`` makes everything else: one solve of all the ablations that are asked for (with the
residuals and without), on time grids that are shared or each observation's own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import Tensor

from groundvae.data.errors import InputError
from groundvae.models.known import Known
from groundvae.models.place import place_of
from groundvae.models.solvers import solver_of
from groundvae.models.stepsize import step_for
from groundvae.models.system import Outcome, Push, System, filled
from groundvae.models.trial import Trial, in_words
from groundvae.models.values import Values
from groundvae.physics.dense import Dense, dense_output
from groundvae.physics.errors import DivergedError, tolerant
from groundvae.physics.signal import Interpolation
from groundvae.physics.solver import (
    RK4,
    FixedStep,
    Midpoint,
    ParallelAdjoint,
    Solver,
    from_start,
    solve,
)

Rate = Mapping[str, Tensor | float]
USUAL_STEP = 0.05  # s, until data are seen


class Dynamics(System):
    """A system that moves: ``d state / dt = rate(t, state, z, inputs)``.

    Attributes:
        states: their names; or, where a state is a field or a vector, names and sizes. Then every
            latent and every input comes with a trailing axis of length one, to broadcast.
        observed: the state that is observed, or several, each a channel.
        solver: how it is solved, an object or a name, see ``physics.solver``; None: by RK4 (beside
            signals that are held by Midpoint), at a step taken from the data (``stepsize.py``).
        release: what happens at t = 0, where ``initial`` holds, for errors; None: it holds at the
            first sample, whenever that is.

    Raises:
        InputError: on declaration, ``observed`` names what is no state.

    """

    states: ClassVar[tuple[str, ...] | Mapping[str, int]] = ()
    observed: ClassVar[str | tuple[str, ...]] = ""
    solver: Solver | str | None = None
    step: Tensor
    release: ClassVar[str | None] = "the start"
    signals: ClassVar[dict[str, Interpolation]] = {}
    places: ClassVar[dict[str, int | slice]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.on_grid = isinstance(cls.states, Mapping)
        cls.sizes = dict(cls.states) if cls.on_grid else dict.fromkeys(cls.states, 1)  # type: ignore[arg-type]
        ends = accumulate(cls.sizes.values())
        parts = zip(cls.sizes.items(), ends, strict=True)
        cls.places = {k: slice(e - n, e) if cls.on_grid else e - 1 for (k, n), e in parts}
        cls.signals = {k: v.interpolation for k, v in cls.inputs.items() if v.over}
        several = isinstance(cls.observed, tuple)
        for name in cls.observed if several else (cls.observed,):
            if name and name not in cls.sizes:
                raise InputError(
                    f"{cls.__name__} observes {name!r}, which is no state of it, known: "
                    f"{', '.join(cls.sizes)}"
                )
        if several and "axes" not in vars(cls):
            cls.axes, cls.labels = ("time", "channel"), {"channel": tuple(cls.observed)}

    def __init__(self) -> None:
        super().__init__()
        if self.solver is None:
            self.register_buffer("step", torch.tensor(USUAL_STEP))

    @property
    def method(self) -> Solver:
        """The solver.

        Raises:
            InputError: one that does not exist.

        """
        if self.solver is None:
            return ParallelAdjoint(self._usual(float(self.step)))
        return solver_of(self.solver)

    @property
    def _usual(self) -> type[FixedStep]:
        """RK4; of a signal that is held its last stage would see the next sample already."""
        return Midpoint if "previous" in self.signals.values() else RK4

    @abstractmethod
    def initial(self, z: Values, inputs: Values) -> Rate:
        """Every state at the start, from latents (...)."""

    @abstractmethod
    def rate(self, t: Tensor, state: Values, z: Values, inputs: Values) -> Rate:
        """How every state (...) changes, per s; on a grid (..., size).

        ``t``, s, is () or broadcasts with the states.
        """

    def observe(self, state: Values, z: Values, inputs: Values) -> Tensor:
        """What is observed of states (..., time), without noise, (..., *event).

        Latents and inputs broadcast with the states; a signal is as it is at the samples.
        """
        if isinstance(self.observed, tuple):
            return torch.stack([state[name] for name in self.observed], -1)
        return state[self.observed]

    def pushable(self) -> Mapping[str, int | None]:
        return {**super().pushable(), **self.sizes}

    def visible(self) -> Mapping[str, int]:
        return {**super().visible(), **self.sizes}

    @property
    def channels(self) -> int:
        if isinstance(self.observed, str) and self.observed and self.on_grid:
            return self.sizes[self.observed]
        return super().channels

    def named(self, states: Tensor) -> Values:
        """States (..., dimension) by name: each (...), or on a grid (..., size)."""
        parts = states.split(list(self.sizes.values()), -1) if self.on_grid else states.unbind(-1)
        return Values(dict(zip(self.sizes, parts, strict=True)), "state")

    def stages(self, inputs: Values) -> Tensor | None:
        """The times (stage,) at which the solver will ask, where they are known and shared."""
        method, times = self.method, self.released(inputs["t"])
        if times.dim() > 1:
            return None
        dense = self.dense(times)
        return method.stage_times(times if dense is None else dense.grid)

    def dense(self, times: Tensor) -> Dense | None:
        """How ``times`` (time,), s, need no step each; None: they do, as where a signal drives."""
        return None if self.signals else dense_output(times, self.method)

    def trajectory(
        self, z: Values, inputs: Values, pushes: Sequence[Push], lead: torch.Size, ablations: int
    ) -> Tensor:
        """States (ablation, ..., time, dimension) for latents (...) of the shape ``lead``.

        The pushes act in the first of the ablations only; all are one solve, since a step costs
        the same for twice as many series at these sizes.

        Raises:
            DivergedError: naming the first sample that left the finite numbers, and its latents.

        """
        start = self.begin(z, inputs, lead).expand(ablations, *lead, -1)
        times = self.released(inputs["t"])
        try:
            ablated = -2 - len(lead) if ablations > 1 else None
            field = self.field(z, inputs, pushes, ablated=ablated)
            dense = self.dense(times)
            path = (solve if dense is None else dense.solve)(field, start, times, self.method)
        except DivergedError as error:
            raise error.with_detail(self._culprit(error, z, lead)) from error
        return path[..., -inputs["t"].shape[-1] :, :]

    def _culprit(self, error: DivergedError, z: Values, lead: torch.Size) -> str:
        """Which state left the finite numbers first, at which latents, under which law."""
        names = [name for name, size in self.sizes.items() for _ in range(size)]
        flat = {k: v.detach().expand(lead).reshape(-1) for k, v in z.items()}
        at = in_words(flat, error.sample % max(1, lead.numel()))
        return f"{names[error.component]} first, at {at}, by {place_of(self.rate)}"

    def outcomes(
        self, z: Values, inputs: Values, pushes: Sequence[Push], lead: torch.Size, ablations: int
    ) -> list[Outcome]:
        states = self.named(self.trajectory(z, inputs, pushes, lead, ablations))
        observed = self.observe(states, *self.beside_samples(z, inputs))
        return [
            Outcome(observed[i], Values({k: v[i] for k, v in states.items()}, "state"), inputs)
            for i in range(ablations)
        ]

    def attempt(self, trial: Trial) -> None:
        inputs = trial.inputs
        z, known = self._beside_states(trial.z, inputs)
        wide = {k: torch.Size([s] if self.on_grid else []) for k, s in self.sizes.items()}
        shapes = {k: trial.lead + size for k, size in wide.items()}
        states = Values(trial.states(self.initial, shapes, z, inputs), "state")
        time = self.released(inputs["t"])[..., 0]
        at = time.unsqueeze(-1) if self.on_grid and time.dim() else time
        trial.states(self.rate, shapes, at, states, z, known(time))
        length = inputs["t"].shape[-1]
        path = {k: v.unsqueeze(1).expand(*trial.lead, length, *wide[k]) for k, v in states.items()}
        beside = self.beside_samples(trial.z, inputs)
        observed = trial.ask(self.observe, Values(path, "state"), *beside)
        trial.shaped(self.observe, observed, trial.lead + trial.event, exact=True)
        if self.solver is None:
            self.step.fill_(self.step_for(trial)[0])

    @torch.no_grad()
    def step_for(self, trial: Trial) -> tuple[float, float]:
        """The step, s, that the law needs at the latents of a trial, and its error, as a share."""
        kept = self.solver

        def solved(step: float) -> Tensor:
            self.solver = self._usual(step)
            with tolerant():
                return self.outcomes(trial.z, trial.inputs, (), trial.lead, 1)[0].observed

        try:
            return step_for(solved, self.released(trial.inputs["t"]), trial.spread)
        finally:
            self.solver = kept

    def field(
        self, z: Values, inputs: Values, pushes: Sequence[Push], *, ablated: int | None = None
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """``d state / dt`` of a time and states (..., dimension), for latents (...).

        ``ablated``: the axis of the states where pushes act in the first ablation alone.
        """
        z, known = self._beside_states(z, inputs)
        beside = self.known.beside
        joined = torch.cat if self.on_grid else torch.stack
        places = {k: (..., place) for k, place in self.places.items()}

        def field(time: Tensor, states: Tensor) -> Tensor:
            named = self.named(states)
            at = time.unsqueeze(-1) if self.on_grid and time.dim() else time
            told = known(time)
            rate = self.checked(self.rate(at, named, z, told))
            total = joined([filled(rate[k], v) for k, v in named.items()], -1)
            pushed = total
            if ablated is not None and pushes:
                named = self.named(states.narrow(ablated, 0, 1))
                pushed = total.narrow(ablated, 0, 1)
            seen = beside(named, told) if pushes else named
            for push in pushes:
                for name, added in push(time, seen).items():
                    pushed[places[name]].add_(added)  # which is nobody else's yet
            return total

        return field

    def checked(self, rate: Rate) -> dict[str, Any]:
        """A rate, or an initial state, of all states (...) and no others.

        Raises:
            InputError: it has other names.

        """
        if rate.keys() != self.sizes.keys():
            raise InputError(
                f"{type(self).__name__}.rate gives {', '.join(rate)}, expected the states "
                f"{', '.join(self.sizes)}"
            )
        return dict(rate)

    def _beside_states(
        self, z: Values, inputs: Values
    ) -> tuple[Values, Callable[[Tensor], Values]]:
        """Latents and inputs as a rate reads them: on a grid with an axis more."""
        return z.with_axes(1) if self.on_grid else z, self.known.at(inputs)

    def beside_samples(self, z: Values, inputs: Values) -> tuple[Values, Values]:
        """Latents and inputs as ``observe`` reads them: beside states (..., time)."""
        return z.with_axes(1 + self.on_grid), self.known.at_samples(inputs)

    @property
    def known(self) -> Known:
        """The inputs that it declares."""
        numbers = tuple(name for name in self.inputs if name not in self.signals)
        return Known(numbers, self.signals, self.on_grid)

    def released(self, times: Tensor) -> Tensor:
        """Times (time,) or (observation, time), s, the start in front where it is missing."""
        return times if self.release is None else from_start(times, self.release)

    def begin(self, z: Values, inputs: Values, lead: torch.Size) -> Tensor:
        """States (..., dimension) at the start, for latents (...) of the shape ``lead``."""
        z, _ = self._beside_states(z, inputs)
        begin = self.checked(self.initial(z, inputs))
        like = next((v for v in begin.values() if isinstance(v, Tensor)), inputs["t"])
        shapes = [(*lead, size) if self.on_grid else lead for size in self.sizes.values()]
        blank = [like.new_zeros(()).expand(shape) for shape in shapes]
        values = [filled(begin[k], b) for k, b in zip(self.sizes, blank, strict=True)]
        return (torch.cat if self.on_grid else torch.stack)(values, -1)
