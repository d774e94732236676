"""The course of one fit: its phases one after the other, and how to go on from a checkpoint.

A phase that is resumed is begun once more, with the parameters and random numbers that it began
with, so that what it prepared (simulations, modes) is there again to the last bit; then model,
guide and its own state are put where they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import nn

from groundvae.data.batch import Batch
from groundvae.guides.guide import Guide
from groundvae.guides.phase import Ending, Fitting, Phase, Steps
from groundvae.guides.state import State, copied, joined, part, random_state, set_random_state
from groundvae.inference.bad import FAILURES
from groundvae.inference.checkpoint import Checkpoint, Checkpoints
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.ending import Fit, peak_memory_mb
from groundvae.inference.interruption import name_of
from groundvae.physics.errors import NonFiniteError

IN_A_ROW = 5  # steps in a row without finite numbers that end a fit

Report = Callable[[Phase, int, dict[str, float]], None]
"""Takes a phase, the step in it (from 1) and the named terms."""


@dataclass
class Place:
    """How far a fit is: the phase, its steps taken, and what was found out in it."""

    phase: int = 0
    taken: int = 0
    best: float = -float("inf")
    stale: int = 0
    failed: int = 0
    """Steps in a row that left the finite numbers."""
    record: dict[str, float] = field(default_factory=dict)
    """Terms of the last step."""


class Course:
    """The state of one fit: its place, its result so far, and the best parameters."""

    def __init__(
        self,
        fitting: Fitting,
        guide: Guide,
        valid: Batch,
        report: Report | None,
        checkpoints: Checkpoints,
    ) -> None:
        self.fitting, self.valid, self.report = fitting, valid, report
        self.checkpoints = checkpoints
        self.both = nn.ModuleList([fitting.model, guide])
        self.exact = RegularizedELBO()
        self.result, self.place = Fit(), Place()
        self.start = time.perf_counter()
        self.best = copied(self.both.state_dict())
        self.found: object = None  # by the last validation
        self.begun: State = {}  # parameters and random numbers before the phase began

    def run(self, phases: Sequence[Phase], interrupted: Callable[[], int]) -> None:
        """All phases from the place on, until the fit ends."""
        resumed = self.checkpoints.resumed
        if resumed is not None:
            self._go_back(resumed)
        while self.place.phase < len(phases):
            phase = phases[self.place.phase]
            steps = self._begin(phase) if resumed is None else self._again(phase, resumed)
            if not self._take(phase, steps, interrupted):
                return
            resumed, self.place = None, Place(self.place.phase + 1)
        self.both.load_state_dict(self.best)
        self._leave()

    def _begin(self, phase: Phase) -> Steps:
        """A phase, from the best state so far."""
        self.both.load_state_dict(self.best)
        self.begun = joined(both=self.best, random=random_state())
        self._leave()
        steps = phase.begin(self.fitting)
        self._keep(None)
        return steps

    def _keep(self, found: object) -> None:
        """The state is the best so far; ``found`` of the validation data in it, where at hand."""
        self.best, self.result.found = copied(self.both.state_dict()), found

    def _again(self, phase: Phase, resumed: Checkpoint) -> Steps:
        """A phase that was begun before: as it began, then as it was."""
        self.both.load_state_dict(part(self.begun, "both"))
        set_random_state(part(self.begun, "random"))
        steps = phase.begin(self.fitting)
        now = part(resumed.tensors, "now")
        if not now:
            self._keep(None)
            return steps
        self.both.load_state_dict(part(now, "both"))
        steps.restore(part(now, "steps"))
        set_random_state(part(now, "random"))
        return steps

    def _take(self, phase: Phase, steps: Steps, interrupted: Callable[[], int]) -> bool:
        """All steps of a phase from the place on; False if the fit ends here."""
        place, options = self.place, self.fitting.options
        stepped = place.taken > 0  # before the checkpoint, but not judged
        while stepped or place.taken < phase.steps:
            if not stepped:
                place.taken += 1
                self._step(steps)
            stepped = False
            stop, last = interrupted(), steps.done or place.taken == phase.steps
            if stop or self.checkpoints.due:
                self._leave(steps)
            if place.taken % options.validate_every and not last and not stop:
                continue
            self._judge(phase, last=bool(last or stop), stop=bool(stop))
            if stop:
                self.end(Ending.INTERRUPTED, f"by {name_of(stop)}")
                return False
            if place.stale >= options.patience:
                self.end(Ending.PLATEAU, f"in {options.patience} validations")
                return True
            if last:
                return True
        return True

    def _step(self, steps: Steps) -> None:
        """One step.

        One draw far out in the tail of a guide may leave the solver's stable region: such a step
        is left out. Many in a row are a divergence.
        """
        place = self.place
        self.result.steps += 1
        try:
            place.record, place.failed = dict(steps.step(place.taken)), 0
        except FAILURES as error:
            if place.failed + 1 >= IN_A_ROW:
                self.result.steps -= 1
                raise NonFiniteError(str(error)) from error
            place.record, place.failed = {}, place.failed + 1

    def _judge(self, phase: Phase, *, last: bool, stop: bool) -> None:
        """Keep the state where it is the best of its phase."""
        place = self.place
        elbo = self._validate(phase, last=last)
        better = not place.failed and (not phase.validated or elbo > place.best)
        if better:
            place.best = elbo
            self._keep(self.found)
            if phase.validated or stop:
                self.result.best_elbo = max(self.result.best_elbo, elbo)
        place.stale = 0 if better or place.taken < phase.rising else place.stale + 1

    def _validate(self, phase: Phase, *, last: bool) -> float:
        """Write a row of the history; the validation ELBO, or minus infinity where none is asked.

        Asleep, every state is better than the one before: the ELBO does not judge it.
        """
        row = {"step": float(self.result.steps), "seconds": self.seconds, **self.place.record}
        elbo, self.found = -float("inf"), None
        if phase.validated or last:
            elbo = row["valid_elbo"] = self.validate(phase.guide)
        self.result.history.append(row)
        if self.report is not None:
            self.report(phase, self.place.taken, row)
        return elbo

    def validate(self, guide: Guide) -> float:
        """ELBO of the validation data by a guide, always with the same noise."""
        devices = [self.valid.x.device] if self.valid.x.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            model = self.fitting.model
            try:
                with torch.no_grad():  # once: a search costs as much as all else
                    self.found = guide.examine(self.valid)
                draws = [-self.exact.loss(model, guide, self.valid, self.found) for _ in range(2)]
            except FAILURES:  # of one draw of one observation: no reason to end a fit
                return -float("inf")
        return sum(draws) / len(draws)

    def end(self, ending: Ending, why: str = "") -> None:
        """Say how the fit ended."""
        self.result.ending, self.result.why = ending, why

    def finish(self) -> Fit:
        """The best state, and what the fit took."""
        self.both.load_state_dict(self.best)
        if self.result.best_elbo == -float("inf"):  # of phases that no ELBO judged, the last one's
            known = [row["valid_elbo"] for row in self.result.history if "valid_elbo" in row]
            self.result.best_elbo = known[-1] if known else self.result.best_elbo
        self.result.seconds = self.seconds
        self.result.peak_memory_mb = peak_memory_mb()
        return self.result

    @property
    def seconds(self) -> float:
        """How long the fit has taken so far, in all processes that it ran in."""
        return time.perf_counter() - self.start

    def _leave(self, steps: Steps | None = None) -> None:
        """Leave a checkpoint: before a phase begins, or after one of its ``steps``."""
        self.checkpoints.leave(lambda: self._checkpoint(steps))

    def _checkpoint(self, steps: Steps | None) -> Checkpoint:
        random = random_state()
        now: State = {}
        if steps is not None:
            now = joined(both=self.both.state_dict(), steps=steps.state(), random=random)
        tensors = joined(
            best=self.best, begun=self.begun, now=now, simulator=self.fitting.simulator.state()
        )
        fit = asdict(self.result) | {"ending": self.result.ending.value}
        return Checkpoint(
            tensors, {"place": asdict(self.place), "fit": fit, "seconds": self.seconds}
        )

    def _go_back(self, checkpoint: Checkpoint) -> None:
        """To where a checkpoint was left."""
        values = checkpoint.values
        self.best, self.begun = (part(checkpoint.tensors, name) for name in ("best", "begun"))
        self.place = Place(**values["place"])
        fit = values["fit"]
        self.result = Fit(
            **fit | {"ending": Ending(fit["ending"]), "history": list(fit["history"])}
        )
        self.start = time.perf_counter() - values["seconds"]
        simulations = part(checkpoint.tensors, "simulator")
        self.fitting.simulator.restore(simulations, self.fitting.train)
