"""Observations whose posterior cannot be had: they get the prior, and the others their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.models.greybox import AUXILIARY, GreyBox
from groundvae.physics.errors import NonFiniteError

FAILURES = (NonFiniteError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What a computation raises that one of its observations spoils."""

T = TypeVar("T")


class NothingInferredError(InputError):
    """Not one observation has a posterior."""

    def __init__(self) -> None:
        super().__init__("no observation can be inferred from, expected data as the run knows them")


def each_alone(
    rows: Tensor, compute: Callable[[Tensor], T], give_up: Callable[[Tensor], None]
) -> list[T | None]:
    """What ``compute`` gives of all ``rows`` (n,) together, or where it fails of parts of them.

    ``give_up`` is told of single rows of which it fails; there is None of these.
    """
    try:
        return [compute(rows)]
    except FAILURES:
        if len(rows) == 1:
            give_up(rows)
            return [None]
    half = len(rows) // 2
    parts = (rows[:half], rows[half:])
    return [found for part in parts for found in each_alone(part, compute, give_up)]


def with_stand_ins(batch: Batch) -> tuple[Batch, Tensor]:
    """A batch whose empty observations are copies of another, and which these are (observation,).

    They stand in so that nothing is computed of nothing; what is found of them is not used.
    """
    if batch.observed is None:
        return batch, torch.zeros(len(batch), dtype=torch.bool)
    empty = ~batch.observed.flatten(1).any(1)
    if not bool(empty.any()) or bool(empty.all()):
        return batch, empty.cpu()
    return stood_in(batch, empty), empty.cpu()


def stood_in(batch: Batch, bad: Tensor) -> Batch:
    """A batch whose ``bad`` observations (observation,) are copies of the first that is not."""
    if not bool(bad.any()):
        return batch
    rows = torch.arange(len(batch), device=bad.device)
    return batch[torch.where(bad, (~bad).nonzero()[0], rows)]


@torch.no_grad()
def prior_latents(
    model: GreyBox, rows: int, draws: int, hyper: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Draws (draw, row, ...) of every latent from its prior; ``hyper``: (draw, 1) of each."""
    like = model.noise.log_scale.detach()
    shape = torch.Size([draws, rows])
    found = {
        z.name: z.prior_like(like, {k: v[:draws] for k, v in hyper.items()}).expand(shape).sample()
        for z in model.latents
    }
    if model.auxiliary:
        found[AUXILIARY] = torch.randn(*shape, model.auxiliary, dtype=like.dtype).to(like.device)
    return found
