"""The training loop: one for all systems, models, guides and losses."""

from __future__ import annotations

import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import pyro
import torch

from groundvae.data.batch import Batch
from groundvae.guides.guide import Guide
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.schedule import FitOptions
from groundvae.inference.trainer import Fit, Phase, Trainer
from groundvae.models.greybox import GreyBox
from groundvae.physics.solver import NonFiniteError

FAILURES = 5  # steps in a row without finite numbers that end a fit

Report = Callable[[Phase, int, dict[str, float]], None]
"""Takes a phase, the step in it (from 1) and the named terms."""


def fit(
    model: GreyBox,
    guide: Guide,
    loss: RegularizedELBO,
    train: Batch,
    valid: Batch,
    options: FitOptions | None = None,
    report: Report | None = None,
) -> Fit:
    """Train ``model`` and ``guide`` in place, in the phases of ``Trainer.phases``.

    The joint phase ends in its state of best validation ELBO. Ctrl-C ends the fit after the
    current step, and steps in a row that leave the finite numbers end it too (``Fit.stop`` says
    which; a single one is left out); both keep the best state so far. ``report`` is called after
    every validation.
    """
    options = options or FitOptions()
    # The seed of parameters is the caller's (they exist already); this one is the batches'.
    torch.manual_seed(options.seed)
    guide.attach(model)
    guide.prepare(train)
    loss.prepare(model, len(train))
    trainer = Trainer(model, guide, loss, train, valid, options)
    result = trainer.result
    start = time.perf_counter()
    with pyro.validation_enabled(False), _interruptible() as interrupted:
        try:
            for phase in trainer.phases():
                run = _Progress(trainer, phase, start, report)
                if not run(interrupted):
                    break
        except NonFiniteError as error:
            result.stop = f"diverged at step {result.steps + 1}: {error}"
    trainer.restore_best()
    result.seconds = time.perf_counter() - start
    result.peak_memory_mb = peak_memory_mb()
    return result


class _Progress:
    """The steps of one phase, with its validations."""

    def __init__(self, trainer: Trainer, phase: Phase, start: float, report: Report | None) -> None:
        self.trainer, self.phase = trainer, phase
        self.start, self.report = start, report
        self.stale = 0
        self.failed = 0

    def __call__(self, interrupted: Callable[[], bool]) -> bool:
        """Take the steps; False if the fit ends here."""
        result, options = self.trainer.result, self.trainer.options
        for step in range(1, self.phase.steps + 1):
            kl_weight = options.kl_weight_at(step) if self.phase.name == "wake" else 1.0
            self._step(kl_weight)
            result.steps += 1
            stop = interrupted()
            if step % options.validate_every and step != self.phase.steps and not stop:
                continue
            better = self._validate(step, last=stop)
            self.stale = 0 if better or kl_weight < 1 else self.stale + 1
            if stop:
                result.stop = "interrupted"
                return False
            if self.stale >= options.patience:
                many = options.patience
                result.stop = f"no better validation ELBO in {many} validations"
                return True
        return True

    def _step(self, kl_weight: float) -> None:
        loss = self.trainer.loss
        loss.kl_weight = kl_weight
        try:
            self.trainer.step(self.phase)
            self.failed = 0
        except NonFiniteError:
            # One draw far out in the tail of a guide may leave the solver's stable region: such
            # a step is left out. Many in a row are a divergence.
            self.failed += 1
            if self.failed >= FAILURES:
                raise
        finally:
            loss.kl_weight = 1.0

    def _validate(self, step: int, *, last: bool) -> bool:
        """Write a row of the history and keep the state if it is good; whether it was better.

        Asleep, every state is better than the one before: the ELBO does not judge it.
        """
        trainer, result = self.trainer, self.trainer.result
        seconds = time.perf_counter() - self.start
        row = {"step": float(result.steps), "seconds": seconds, **trainer.loss.record}
        phase = self.phase
        if phase.validated or last or step == phase.steps:
            row["valid_elbo"] = trainer.validate(phase.guide)
        better = not self.failed and (not phase.validated or row["valid_elbo"] > phase.best)
        if better:
            trainer.keep()
            if phase.validated or last:
                phase.best = row["valid_elbo"]
                result.best_elbo = max(result.best_elbo, phase.best)
        result.history.append(row)
        if self.report is not None:
            self.report(self.phase, step, row)
        return better


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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
