"""Gradient descent on a loss: the steps of most phases of a fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.guides.phase import Fitting, Terms
from groundvae.guides.state import State, joined, part
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
        self.batches = Batches(fitting)
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

    def state(self) -> State:
        """Moments of the optimizer, gradient steps taken and the order of batches."""
        moments = {
            f"{i}.{name}": value
            for i, parameter in enumerate(self.parameters)
            for name, value in self.optimizer.state.get(parameter, {}).items()
        }
        taken = {"taken": torch.tensor(self.schedule.last_epoch)}
        return joined(moments=moments, schedule=taken, batches=self.batches.state())

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        for key, value in part(state, "moments").items():
            place, _, name = key.partition(".")
            parameter = self.parameters[int(place)]
            self.optimizer.state[parameter][name] = value.to(parameter.device)
        self.schedule.last_epoch = int(state["schedule/taken"])
        for group, base, scale in zip(
            self.optimizer.param_groups,
            self.schedule.base_lrs,
            self.schedule.lr_lambdas,
            strict=True,
        ):
            group["lr"] = base * scale(self.schedule.last_epoch)
        self.batches.restore(part(state, "batches"))

    def _worst(self, batch: Batch, kl_weight: float) -> str:
        """The first term of the loss whose own gradient is not finite, in words."""
        for name, term in self.loss(batch, kl_weight).items():
            if name == "loss" or not term.requires_grad:
                continue
            found = torch.autograd.grad(term, self.parameters, retain_graph=True, allow_unused=True)
            if any(g is not None and not torch.isfinite(g).all() for g in found):
                return f"term {name!r} of the loss"
        return "the loss (no single term)"


class Batches:
    """Shuffled batches without end; every observation once an epoch."""

    def __init__(self, fitting: Fitting) -> None:
        self.train, self.system = fitting.train, fitting.model.system
        self.size = min(fitting.options.batch_size, len(fitting.train))
        self.order, self.place = torch.empty(0, dtype=torch.long), 0
        self.rows = self.order  # of the last batch, among those fitted

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        if self.place + self.size > len(self.order):
            self.order = torch.randperm(len(self.train), device=self.train.x.device)
            self.place = 0
        self.rows = self.order[self.place : self.place + self.size]
        self.place += self.size
        return self.system.augment(self.train[self.rows])

    def state(self) -> State:
        """The order of this epoch, and how far it is."""
        return {"order": self.order, "place": torch.tensor(self.place)}

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        self.order = state["order"].to(self.train.x.device)
        self.place = int(state["place"])


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
