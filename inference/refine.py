"""Refinement: the amortized answer, trained further for the given observations alone.

An amortized guide answers for all observations with one set of networks; for a few of them it
can do better. Source: Kim et al. (2018), Semi-amortized variational autoencoders (here all of
the guide's parameters move, not those of one observation).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

import pyro
import torch

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides.guide import Guide
from groundvae.inference.elbo import RegularizedELBO
from groundvae.inference.run import Run
from groundvae.models.greybox import GreyBox


@dataclass(frozen=True)
class RefineOptions:
    """How long and how fast."""

    steps: int = 200
    """Gradient steps."""
    learning_rate: float = 5e-4
    """Of Adam at the first step; falls to zero as a cosine."""
    rows: int = 256
    """Rows of a step: each observation as often as fits, with draws of its own."""
    clip: float = 10.0
    """Largest norm of a gradient."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rows < 1:
            raise InputError("steps and rows of a refinement must be 1 or more")
        if not 0 < self.learning_rate < math.inf or not self.clip > 0:
            raise InputError("learning_rate and clip of a refinement must be above 0")


@dataclass(frozen=True)
class Refined:
    """A run whose guide was trained further, and the mean ELBO before and after (nats)."""

    run: Run
    before: float
    after: float


def refine(run: Run, data: Dataset, options: RefineOptions | None = None) -> Refined:
    """Continue the fit of a copy of ``run``'s guide by the exact ELBO of ``data`` alone.

    The model is frozen and ``run`` is left as it is. The result is the best of the states seen
    at ten checks with fixed noise, so it is never worse than the start by that measure.

    Raises:
        NonFiniteError: the loss left the finite numbers.

    """
    options = options or RefineOptions()
    model = deepcopy(run.model).requires_grad_(False)
    guide = deepcopy(run.guide)
    guide.attach(model)
    batch = run.batch(data)
    with torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(options.seed)
        before = best = _elbo(model, guide, batch)
        kept = deepcopy(guide.state_dict())
        for _ in _steps(model, guide, batch, options):
            now = _elbo(model, guide, batch)
            if now > best:
                best, kept = now, deepcopy(guide.state_dict())
    guide.load_state_dict(kept)
    return Refined(replace(run, model=model, guide=guide), before, best)


def _steps(model: GreyBox, guide: Guide, batch: Batch, options: RefineOptions) -> Iterator[int]:
    """Take the steps; a pause for a check after every tenth of them."""
    # Hyperparameters are shared with observations that are not here: these stay.
    parameters = [p for k, p in guide.named_parameters() if not k.startswith("population.")]
    optimizer = torch.optim.Adam(parameters, lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    loss = RegularizedELBO()
    every = max(1, options.steps // 10)
    for step in range(1, options.steps + 1):
        optimizer.zero_grad(set_to_none=True)
        loss.differentiable_loss(model, guide, batch[_rows(len(batch), options.rows)]).backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, options.clip)
        if torch.isfinite(norm):  # else this step is left out
            optimizer.step()
        schedule.step()
        if step % every == 0 or step == options.steps:
            yield step


def _rows(observations: int, rows: int) -> torch.Tensor:
    """Which observations a step sees: all, as often as fits, or a random part of them."""
    if observations >= rows:
        return torch.randperm(observations)[:rows]
    return torch.arange(observations).repeat(rows // observations)


def _elbo(model: GreyBox, guide: Guide, batch: Batch) -> float:
    """Mean ELBO of an observation, nats, always with the same noise."""
    exact = RegularizedELBO()
    copies = max(1, 512 // len(batch))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        many = batch[torch.arange(len(batch)).repeat(copies)]
        return -exact.loss(model, guide, many)
