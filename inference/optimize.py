"""The training loop: one for all models, guides and objectives."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import pyro
import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.guides.guide import Guide
from groundvae.guides.phase import Ending, Fitting, Phase, Steps
from groundvae.guides.simulation import Simulator
from groundvae.inference.elbo import RegularizedELBO
from groundvae.models.greybox import GreyBox
from groundvae.models.recipe import FitOptions
from groundvae.physics.errors import NonFiniteError

FAILURES = 5  # steps in a row without finite numbers that end a fit

Report = Callable[[Phase, int, dict[str, float]], None]
"""Takes a phase, the step in it (from 1) and the named terms."""


@dataclass
class Fit:
    """What a fit leaves besides the trained model and guide."""

    history: list[dict[str, float]] = field(default_factory=list)
    ending: Ending = Ending.FINISHED
    why: str = ""
    """Of an ending that has a reason: which step, which term."""
    steps: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    best_elbo: float = -float("inf")
    """Highest validation ELBO; calibration then trades some of it for intervals that are as wide
    as they should be."""

    @property
    def stop(self) -> str:
        """How it ended, in words."""
        return f"{self.ending.value} {self.why}".rstrip()


def optimize(
    model: GreyBox,
    guide: Guide,
    loss: RegularizedELBO,
    train: Batch,
    valid: Batch,
    options: FitOptions | None = None,
    report: Report | None = None,
) -> Fit:
    """Train ``model`` and ``guide`` in place, in the phases that the guide declares.

    A validated phase ends in its state of best validation ELBO. Ctrl-C ends the fit after the
    current step, and steps in a row that leave the finite numbers end it too (``Fit.ending`` says
    which; a single one is left out); both keep the best state so far. ``report`` is called after
    every validation.
    """
    options = options or FitOptions()
    # The seed of parameters is the caller's (they exist already); this one is the batches'.
    torch.manual_seed(options.seed)
    guide.attach(model)
    guide.prepare(train)
    loss.prepare(model)
    simulator = Simulator(model, population=guide.population)
    fitting = Fitting(model, loss, train, options, simulator)
    progress = _Progress(fitting, guide, valid, report)
    with pyro.validation_enabled(False), _interruptible() as interrupted:
        try:
            for phase in guide.phases(fitting):
                if not progress.take(phase, interrupted):
                    break
        except NonFiniteError as error:
            progress.end(Ending.DIVERGED, f"at step {progress.result.steps + 1}: {error}")
    return progress.finish()


class _Progress:
    """The state of one fit: its result so far, and the best parameters."""

    def __init__(self, fitting: Fitting, guide: Guide, valid: Batch, report: Report | None) -> None:
        self.fitting, self.valid, self.report = fitting, valid, report
        self.both = nn.ModuleList([fitting.model, guide])
        self.exact = RegularizedELBO()
        self.result = Fit()
        self.start = time.perf_counter()
        self.best = self._state()

    def take(self, phase: Phase, interrupted: Callable[[], bool]) -> bool:
        """All steps of one phase, from the best state so far; False if the fit ends here."""
        self.both.load_state_dict(self.best)
        steps = phase.begin(self.fitting)
        self.best = self._state()
        best, stale, failed = -float("inf"), 0, 0
        options = self.fitting.options
        for number in range(1, phase.steps + 1):
            record, failed = self._step(steps, number, failed)
            stop, last = interrupted(), steps.done or number == phase.steps
            if number % options.validate_every and not last and not stop:
                continue
            elbo = self._validate(phase, number, record, last=stop or last)
            better = not failed and (not phase.validated or elbo > best)
            if better:
                best, self.best = elbo, self._state()
                if phase.validated or stop:
                    self.result.best_elbo = max(self.result.best_elbo, elbo)
            stale = 0 if better or number < phase.rising else stale + 1
            if stop:
                self.end(Ending.INTERRUPTED)
                return False
            if stale >= options.patience:
                self.end(Ending.PLATEAU, f"in {options.patience} validations")
                return True
            if last:
                return True
        return True

    def _step(self, steps: Steps, number: int, failed: int) -> tuple[dict[str, float], int]:
        """One step, and how many in a row left the finite numbers.

        One draw far out in the tail of a guide may leave the solver's stable region: such a step
        is left out. Many in a row are a divergence.
        """
        self.result.steps += 1
        try:
            return dict(steps.step(number)), 0
        except NonFiniteError:
            if failed + 1 >= FAILURES:
                self.result.steps -= 1
                raise
            return {}, failed + 1

    def _validate(
        self, phase: Phase, number: int, record: dict[str, float], *, last: bool
    ) -> float:
        """Write a row of the history; the validation ELBO, or minus infinity where none is asked.

        Asleep, every state is better than the one before: the ELBO does not judge it.
        """
        seconds = time.perf_counter() - self.start
        row = {"step": float(self.result.steps), "seconds": seconds, **record}
        elbo = -float("inf")
        if phase.validated or last:
            elbo = row["valid_elbo"] = self.validate(phase.guide)
        self.result.history.append(row)
        if self.report is not None:
            self.report(phase, number, row)
        return elbo

    def validate(self, guide: Guide) -> float:
        """ELBO of the validation data by a guide, always with the same noise."""
        devices = [self.valid.x.device] if self.valid.x.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            model = self.fitting.model
            try:
                draws = [-self.exact.loss(model, guide, self.valid) for _ in range(2)]
            except NonFiniteError:  # of one draw of one observation: no reason to end a fit
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
        self.result.seconds = time.perf_counter() - self.start
        self.result.peak_memory_mb = peak_memory_mb()
        return self.result

    def _state(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.both.state_dict().items()}


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a flag; the second interrupts as usual."""
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)

    try:
        before = signal.getsignal(signal.SIGINT)
        signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread: leave signals alone
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def peak_memory_mb() -> float:
    """Highest resident memory of this process so far, MB."""
    try:
        import resource  # not everywhere
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
