"""The state of one fit: its phases, its gradient steps, and the best parameters so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.guides.guide import Guide
from groundvae.guides.laplace import LaplaceGuide
from groundvae.inference.elbo import SLEEP, RegularizedELBO
from groundvae.inference.schedule import FitOptions, rate_at
from groundvae.models.greybox import GreyBox
from groundvae.physics.solver import NonFiniteError

ROUNDS = 3  # in which the noise scale settles
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
    """Highest validation ELBO; settling then trades some of it for intervals that are as wide
    as they should be."""


class Phase:
    """A part of a fit with a loss, trained parameters and a schedule of its own.

    It trains a guide, or a part of one that is a guide itself, and with ``model`` the model too;
    its states are then judged by validation ELBO, of which ``best`` is the highest so far.
    """

    def __init__(
        self,
        name: str,
        steps: int,
        guide: Guide,
        loss: Loss,
        options: FitOptions,
        model: GreyBox | None = None,
    ) -> None:
        self.name, self.steps, self.guide, self.loss = name, steps, guide, loss
        self.judged = model is not None
        self.best = -float("inf")
        trained = [*guide.parameters(), *(model.parameters() if model is not None else ())]
        self.parameters = [p for p in trained if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: rate_at(step, steps)
        )


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
        """Sleep, wake, settle; the guide's own only where the loss has simulations of the model.

        Asleep, the guide alone learns to invert the model as it is, from simulations; awake,
        both learn from the data. So the first steps on data find a guide that already tells
        one frequency from another, and the last ones make its intervals as wide as the fitted
        model says. Source: Hinton et al. (1995), the wake-sleep algorithm.
        """
        options, model, loss = self.options, self.model, self.loss
        whole, first = self.guide, self.guide.first
        alone = options.steps if loss.sleeps(model, whole) else 0
        before, after = round(options.sleep * alone), round(options.settle * alone)
        joint = loss.differentiable_loss
        if before:
            # Noisy simulations teach a guide little; awake, the noise finds its own scale.
            model.noise.sharpen(SHARP)
            yield Phase("sleep", before, first, loss.sleep, options)
        yield Phase("wake", options.steps, first, joint, options, model)
        self.restore_best()
        if first is not whole:
            self._match_noise()
            if options.polish:
                yield Phase("polish", round(options.polish * options.steps), whole, joint, options, model)
                self.restore_best()
        if after:
            yield Phase("settle", after, whole, loss.sleep, options)

    def _batches(self) -> Iterator[Batch]:
        """Shuffled batches without end; every observation once an epoch."""
        size = min(self.options.batch_size, len(self.train))
        while True:
            order = torch.randperm(len(self.train), device=self.train.x.device)
            for start in range(0, len(order) - size + 1, size):
                yield self.model.system.vary(self.train[order[start : start + size]])

    def step(self, phase: Phase) -> None:
        """One gradient step of a phase, on the next batch.

        Raises:
            NonFiniteError: naming the term; the parameters are left as they were.

        """
        batch = next(self.stream)
        phase.optimizer.zero_grad(set_to_none=True)
        phase.loss(self.model, phase.guide, batch).backward()
        norm = nn.utils.clip_grad_norm_(phase.parameters, self.options.clip)
        if not torch.isfinite(norm):
            raise NonFiniteError(f"the gradient of {self._worst_term(phase, batch)} is not finite")
        phase.optimizer.step()
        phase.schedule.step()

    def _worst_term(self, phase: Phase, batch: Batch) -> str:
        """The first term of the loss whose own gradient is not finite, in words."""
        if not phase.judged:
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

    def _match_noise(self) -> None:
        """The noise scale of largest evidence, under a guide that asks the model."""
        noise = self.model.noise
        if not isinstance(self.guide, LaplaceGuide) or not noise.log_scale.requires_grad:
            return
        for _ in range(ROUNDS):
            noise.sharpen(math.sqrt(self.guide.noise_ratio(self.train)))

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
