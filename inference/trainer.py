"""The state of one fit: its phases, its gradient steps, and the best parameters so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.guides.guide import Guide
from groundvae.guides.laplace import LaplaceGuide
from groundvae.inference.calibration import CalibrationLoss
from groundvae.inference.elbo import SLEEP, RegularizedELBO
from groundvae.inference.schedule import FitOptions, rate_at
from groundvae.models.greybox import GreyBox
from groundvae.physics.solver import NonFiniteError

ROUNDS = 3  # in which the noise scale calibrates
GENTLE = 0.5  # of the learning rate, the share that is left after a guide slept
HUGE = 1e10  # of a gradient's entry: the squares of some million such are finite
SHARP = 0.2  # of a fresh model's noise, the share that is left before a guide sleeps

Loss = Callable[[GreyBox, Guide, Batch], Tensor]


@dataclass
class Fit:
    """What a fit leaves besides the trained model and guide."""

    history: list[dict[str, float]] = field(default_factory=list)
    stop: str = "finished"
    steps: int = 0
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    best_elbo: float = -float("inf")
    """Highest validation ELBO; calibration then trades some of it for intervals that are as wide
    as they should be."""


class Phase:
    """A part of a fit with a loss, trained modules and a schedule of its own.

    Its guide answers in validation. A ``validated`` phase trains the model too: its states are
    compared by validation ELBO, of which ``best`` is the highest so far.
    """

    def __init__(
        self,
        name: str,
        steps: int,
        guide: Guide,
        loss: Loss,
        trained: Sequence[nn.Module],
        options: FitOptions,
        *,
        validated: bool = False,
    ) -> None:
        self.name, self.steps, self.guide, self.loss, self.validated = (
            name,
            steps,
            guide,
            loss,
            validated,
        )
        self.best = -float("inf")
        self.parts = [[p for p in part.parameters() if p.requires_grad] for part in trained]
        self.parameters = [p for part in self.parts for p in part]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: rate_at(step, steps)
        )


def shorten(parameters: Sequence[nn.Parameter], longest: float) -> Tensor:
    """Shorten a gradient to a norm of ``longest`` at most; the norm before, up to ``HUGE``.

    An odd simulation far out in a fresh guide's tail can have a gradient whose entries are finite
    and whose squares are not: it is brought down to ``HUGE`` first, in its own direction.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    largest = nn.utils.get_total_norm(gradients, math.inf)
    if HUGE < largest < math.inf:
        torch._foreach_mul_(gradients, float(HUGE / largest))
    return nn.utils.clip_grad_norm_(parameters, longest)


class Trainer:
    """State of one fit; ``fit`` is the way to use it."""

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
        self.exact = RegularizedELBO()
        self.result = Fit()
        self.stream = self._batches()
        self.best = self._state()

    def phases(self) -> Iterator[Phase]:
        """Sleep, wake, calibrate; asleep only where the loss has simulations of the model.

        Asleep, the guide alone learns to invert the model as it is, from simulations; awake,
        both learn from the data. So the first steps on data find a guide that already tells
        one frequency from another. Calibrating, the guide alone makes its intervals as wide as the
        fitted model says. Source: Hinton et al. (1995), the wake-sleep algorithm.
        """
        options, model, guide = self.options, self.model, self.guide.first
        sleeps = self.loss.sleeps(model, self.guide)
        before, after = (
            round(share * options.steps) for share in (options.sleep, options.calibrate)
        )
        awake = options
        if before and sleeps:
            # Noisy simulations teach a guide little; awake, the noise finds its own scale.
            model.noise.sharpen(SHARP)
            yield Phase("sleep", before, guide, self.loss.sleep, [guide], options)
            # A guide that is shaken loses what it learned, and the model then its residual.
            awake = replace(options, learning_rate=GENTLE * options.learning_rate)
        joint = self.loss.differentiable_loss
        yield Phase("wake", options.steps, guide, joint, [model, guide], awake, validated=True)
        self.restore_best()
        if isinstance(self.guide, LaplaceGuide):
            yield from self._calibrate_about_modes(self.guide, after)
        elif after and sleeps:
            yield Phase("calibrate", after, guide, self.loss.sleep, [guide], options)

    def _calibrate_about_modes(self, guide: LaplaceGuide, steps: int) -> Iterator[Phase]:
        """Modes are nearer to the data than the first answer was: so is the noise."""
        noise = self.model.noise
        if noise.log_scale.requires_grad:
            for _ in range(ROUNDS):
                noise.sharpen(math.sqrt(guide.noise_ratio(self.train)))
        self.keep()
        if steps:
            seen = steps * min(self.options.batch_size, len(self.train))
            loss = CalibrationLoss(self.model, guide, self.loss, self.train, seen)
            yield Phase("calibrate", steps, guide, loss, [guide.correction], self.options)

    def _batches(self) -> Iterator[Batch]:
        """Shuffled batches without end; every observation once an epoch."""
        size = min(self.options.batch_size, len(self.train))
        while True:
            order = torch.randperm(len(self.train), device=self.train.x.device)
            for start in range(0, len(order) - size + 1, size):
                yield self.model.system.augment(self.train[order[start : start + size]])

    def step(self, phase: Phase) -> None:
        """One gradient step of a phase, on the next batch.

        Raises:
            NonFiniteError: naming the term; the parameters are left as they were.

        """
        batch = next(self.stream)
        phase.optimizer.zero_grad(set_to_none=True)
        phase.loss(self.model, phase.guide, batch).backward()
        # Each by itself: a model far from the data would drown what its guide has to learn.
        norms = [shorten(part, self.options.clip) for part in phase.parts]
        if not all(torch.isfinite(norm) for norm in norms):
            raise NonFiniteError(f"the gradient of {self._worst_term(phase, batch)} is not finite")
        phase.optimizer.step()
        phase.schedule.step()

    def _worst_term(self, phase: Phase, batch: Batch) -> str:
        """The first term of the loss whose own gradient is not finite, in words."""
        if not phase.validated:
            return f"term {SLEEP!r} of the loss"
        for name, term in self.loss.terms(self.model, phase.guide, batch).items():
            if not term.requires_grad:
                continue
            found = torch.autograd.grad(
                term, phase.parameters, retain_graph=True, allow_unused=True
            )
            if any(g is not None and not torch.isfinite(g).all() for g in found):
                return f"term {name!r} of the loss"
        return "the loss (no single term)"

    def validate(self, guide: Guide) -> float:
        """ELBO of the validation data by a guide, always with the same noise."""
        devices = [self.valid.x.device] if self.valid.x.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            draws = [-self.exact.loss(self.model, guide, self.valid) for _ in range(2)]
        return sum(draws) / len(draws)

    def keep(self) -> None:
        """Call the present state the best."""
        self.best = self._state()

    def restore_best(self) -> None:
        self.both.load_state_dict(self.best)

    def _state(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.both.state_dict().items()}
