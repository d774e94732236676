"""The training loop: one for all systems, models, guides and losses."""

from __future__ import annotations

import math
import resource
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
from groundvae.data.errors import InputError
from groundvae.guides.guide import Guide
from groundvae.inference.elbo import RegularizedELBO
from groundvae.models.greybox import GreyBox
from groundvae.physics.solver import NonFiniteError

Report = Callable[[int, "FitOptions", dict[str, float]], None]


@dataclass(frozen=True)
class FitOptions:
    """How long and how fast to train. The defaults are the published ones."""

    steps: int = 1600
    """Gradient steps."""
    batch_size: int = 200
    """Observations a step."""
    learning_rate: float = 4e-3
    """Highest rate of the schedule: a linear rise over a fifth of the steps, then a cosine."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    clip: float = 10.0
    """Largest norm of a gradient; longer ones are shortened to it."""
    warmup: float = 0.6
    """Share of the steps over which the KL and the penalties rise from 0 to their weights."""
    validate_every: int = 100
    """Steps between two validations by ELBO."""
    patience: int = 8
    """Validations without a better ELBO after which to stop early."""
    seed: int = 0
    """Of parameters, batches and draws."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not self.learning_rate > 0 or not self.clip > 0:
            raise InputError("learning_rate and clip must be above 0")
        if not self.weight_decay >= 0 or not 0 <= self.warmup <= 1:
            raise InputError("weight_decay must be 0 or more, and warmup within 0 .. 1")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}, expected 0 or more, below 2**63")

    def warmth_at(self, step: int) -> float:
        """Weight of all but the reconstruction at a step (from 1): a cubic rise from 0 to 1.

        It is slow at first on purpose: a model that is an autoencoder for a while finds a use
        for z_aux; under a linear rise some seeds never did.
        """
        return min(1.0, step / max(self.warmup * self.steps, 1.0)) ** 3

    def rate_at(self, step: int) -> float:
        """Learning rate at a step (from 0), as a share of the highest."""
        rise = 0.2 * self.steps
        if step < rise:
            return (step + 1) / (rise + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / (self.steps - rise)))


@dataclass
class Fit:
    """What a fit leaves besides the trained model and guide."""

    history: list[dict[str, float]] = field(default_factory=list)
    stop: str = "finished"
    steps: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    best_elbo: float = -float("inf")


class Trainer:
    """State of one fit; ``fit`` below is the way to use it."""

    def __init__(
        self,
        model: GreyBox,
        guide: Guide,
        loss: RegularizedELBO,
        train: Batch,
        valid: Batch,
        options: FitOptions,
    ) -> None:
        self.model, self.guide, self.loss = model, guide, loss
        self.train, self.valid, self.options = train, valid, options
        self.both = nn.ModuleList([model, guide])
        self.parameters = [p for p in self.both.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, options.rate_at)
        self.exact = RegularizedELBO()
        self.result = Fit()
        self.best = self._state()

    def batches(self) -> Iterator[Batch]:
        """Shuffled batches without end; every observation once an epoch."""
        size = min(self.options.batch_size, len(self.train))
        while True:
            order = torch.randperm(len(self.train), device=self.train.x.device)
            for start in range(0, len(order) - size + 1, size):
                yield self.train[order[start : start + size]]

    def step(self, batch: Batch) -> None:
        """One gradient step.

        Raises:
            NonFiniteError: naming the term; the parameters are left as they were.

        """
        self.optimizer.zero_grad(set_to_none=True)
        self.loss.differentiable_loss(self.model, self.guide, batch).backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
        if not torch.isfinite(norm):
            raise NonFiniteError(f"the gradient of {self._worst_term(batch)} is not finite")
        self.optimizer.step()
        self.schedule.step()

    def _worst_term(self, batch: Batch) -> str:
        """The first term of the loss whose own gradient is not finite, in words."""
        for name, term in self.loss.terms(self.model, self.guide, batch).items():
            if not term.requires_grad:
                continue
            found = torch.autograd.grad(term, self.parameters, retain_graph=True, allow_unused=True)
            if any(g is not None and not torch.isfinite(g).all() for g in found):
                return f"term {name!r} of the loss"
        return "the loss (no single term)"

    def validate(self) -> float:
        """ELBO of the validation data, always with the same noise; keeps the best state."""
        devices = [self.valid.x.device] if self.valid.x.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            draws = [-self.exact.loss(self.model, self.guide, self.valid) for _ in range(2)]
        elbo = sum(draws) / len(draws)
        if elbo > self.result.best_elbo:
            self.result.best_elbo = elbo
            self.best = self._state()
        return elbo

    def restore_best(self) -> None:
        self.both.load_state_dict(self.best)

    def _state(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.both.state_dict().items()}


def fit(
    model: GreyBox,
    guide: Guide,
    loss: RegularizedELBO,
    train: Batch,
    valid: Batch,
    options: FitOptions | None = None,
    report: Report | None = None,
) -> Fit:
    """Train ``model`` and ``guide`` in place; they end in the state of best validation ELBO.

    Ctrl-C ends the fit after the current step, and a step that leaves the finite numbers ends
    it too (``Fit.stop`` says which); both keep the best state so far.
    ``report`` is called after every validation with the step and the terms.
    """
    options = options or FitOptions()
    start = time.perf_counter()
    # The seed of parameters is the caller's (they exist already); this one is the batches'.
    torch.manual_seed(options.seed)
    guide.prepare(train)
    loss.prepare(model)
    trainer = Trainer(model, guide, loss, train, valid, options)
    result = trainer.result
    with pyro.validation_enabled(False), _interruptible() as interrupted:
        try:
            _train(trainer, result, start, interrupted, report)
        except NonFiniteError as error:
            result.stop = f"diverged at step {result.steps + 1}: {error}"
    trainer.restore_best()
    result.seconds = time.perf_counter() - start
    result.peak_memory_mb = peak_memory_mb()
    return result


def _train(
    trainer: Trainer,
    result: Fit,
    start: float,
    interrupted: Callable[[], bool],
    report: Report | None,
) -> None:
    options, loss = trainer.options, trainer.loss
    stale = 0
    for step, batch in zip(range(1, options.steps + 1), trainer.batches(), strict=False):
        warm = options.warmth_at(step)
        loss.warmth = warm
        try:
            trainer.step(batch)
        finally:
            loss.warmth = 1.0
        result.steps = step
        stop = interrupted()
        if step % options.validate_every and step != options.steps and not stop:
            continue
        known = result.best_elbo
        terms = loss.record | {"valid_elbo": trainer.validate()}
        row = {"step": float(step), "seconds": time.perf_counter() - start, **terms}
        result.history.append(row)
        if report is not None:
            report(step, options, row)
        stale = 0 if result.best_elbo > known or warm < 1 else stale + 1
        if stop:
            result.stop = "interrupted"
            return
        if stale >= options.patience:
            result.stop = f"no better validation ELBO in {options.patience} validations"
            return


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
