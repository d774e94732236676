"""Who computes what comes in chunks of observations: this process, or others.

A chunk is sent with all that it takes to compute it and comes back whole, so that a worker that is
lost costs its chunk, which another does again. Those of a cluster are ``inference.cluster``'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

import torch
from torch import Tensor

ALIGNED = 16  # observations: chunks of multiples meet vector instructions as the whole does
TOGETHER = 256  # observations that are searched as one, where others may be elsewhere

T = TypeVar("T")
R = TypeVar("R")


class Workers(Protocol):
    """What does the parts."""

    @property
    def count(self) -> int:
        """How many parts are done at once."""

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """What ``function`` gives of each task, in the order in which they are done."""


class Here:
    """The process that asks."""

    count = 1

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """One after the other."""
        return map(function, tasks)


HERE = Here()


def share(n: int, workers: Workers) -> int:
    """How many of n observations each worker gets: what is computed in one go differs by no digit.

    >>> share(100, HERE)
    112
    """
    return max(1, math.ceil(n / workers.count / ALIGNED)) * ALIGNED


def chunks(n: int, most: int = TOGETHER) -> tuple[Tensor, ...]:
    """Rows of n observations, so many together, the same whoever works: so are the results.

    >>> chunks(3, 2)
    (tensor([0, 1]), tensor([2]))
    """
    return torch.arange(n).split(max(1, min(most, TOGETHER)))


def in_order(workers: Workers, function: Callable[[T], R], tasks: Sequence[T]) -> list[R]:
    """What ``function`` gives of each task, in the order of the tasks.

    >>> in_order(HERE, abs, [-2, 1])
    [2, 1]
    """
    found = dict(workers.map(partial(_numbered, function), enumerate(tasks)))
    return [found[i] for i in range(len(tasks))]


def _numbered(function: Callable[[T], R], task: tuple[int, T]) -> tuple[int, R]:
    number, argument = task
    return number, function(argument)
