"""Gradient descent on a loss: the steps of most phases of a fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.guides.phase import Fitting, Terms
from groundvae.physics.errors import NonFiniteError

HUGE = 1e10  # of a gradient's entry: the squares of some million such are finite

Loss = Callable[[Batch, float], Terms]
"""Takes a batch and the weight of the KL (1 but while it rises)."""


class Descent:
    """AdamW with one rise and one fall of its rate; gradients of each module clipped by itself.

    Args:
        fitting: what the fit is about.
        loss: of a batch, named terms and their sum ``"loss"``.
        trained: the modules that move.
        steps: in all, for the schedule.
        rate: the highest learning rate.
        warmup: share of the steps over which the KL rises from 0.

    """

    def __init__(
        self,
        fitting: Fitting,
        loss: Loss,
        trained: Sequence[nn.Module],
        *,
        steps: int,
        rate: float,
        warmup: float = 0.0,
    ) -> None:
        self.loss, self.options, self.warmup = loss, fitting.options, warmup
        self.parts = [[p for p in part.parameters() if p.requires_grad] for part in trained]
        self.parameters = [p for part in self.parts for p in part]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=rate, weight_decay=self.options.weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: rate_at(step, steps)
        )
        self.rising = warmup * steps
        self.batches = batches(fitting)
        self.done = False

    def step(self, number: int) -> dict[str, float]:
        """One gradient step, on the next batch; its terms."""
        batch = next(self.batches)
        kl_weight = min(1.0, number / max(self.rising, 1.0)) ** 3
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.loss(batch, kl_weight)
        record = finite(terms)
        terms["loss"].backward()
        # Each by itself: a model far from the data would drown what its guide has to learn.
        norms = [shorten(part, self.options.clip) for part in self.parts]
        if not all(torch.isfinite(norm) for norm in norms):
            raise NonFiniteError(f"the gradient of {self._worst(batch, kl_weight)} is not finite")
        self.optimizer.step()
        self.schedule.step()
        return record

    def _worst(self, batch: Batch, kl_weight: float) -> str:
        """The first term of the loss whose own gradient is not finite, in words."""
        for name, term in self.loss(batch, kl_weight).items():
            if name == "loss" or not term.requires_grad:
                continue
            found = torch.autograd.grad(term, self.parameters, retain_graph=True, allow_unused=True)
            if any(g is not None and not torch.isfinite(g).all() for g in found):
                return f"term {name!r} of the loss"
        return "the loss (no single term)"


def batches(fitting: Fitting) -> Iterator[Batch]:
    """Shuffled batches without end; every observation once an epoch."""
    train, size = fitting.train, min(fitting.options.batch_size, len(fitting.train))
    while True:
        order = torch.randperm(len(train), device=train.x.device)
        for start in range(0, len(order) - size + 1, size):
            yield fitting.model.system.augment(train[order[start : start + size]])


def finite(terms: Terms) -> dict[str, float]:
    """The terms as numbers.

    Raises:
        NonFiniteError: naming the first that is not finite.

    """
    record = {name: float(value.detach()) for name, value in terms.items()}
    for name, value in record.items():
        if not math.isfinite(value):
            raise NonFiniteError(f"term {name!r} of the loss is {value}")
    return record


def rate_at(step: int, steps: int) -> float:
    """Learning rate at a step (from 0) of a phase of ``steps``, as a share of the highest."""
    rise = 0.2 * steps
    if step >= steps:  # also of a phase without steps
        return 0.0
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


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
