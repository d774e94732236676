"""The errors a user can meet, told in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TOLERANT: ContextVar[bool] = ContextVar("tolerant", default=False)


class InputError(ValueError):
    """Bad input. The message is one sentence: what is wrong, where, what was expected."""


class NonFiniteError(ArithmeticError):
    """A computation left the finite numbers; the message names the quantity and the sample."""


@contextmanager
def tolerant() -> Iterator[None]:
    """Within it a solution that leaves the finite numbers is NaN, and does not stop the others."""
    token = _TOLERANT.set(True)
    try:
        yield
    finally:
        _TOLERANT.reset(token)


def is_tolerant() -> bool:
    """Whether solutions that are not finite are left to the caller."""
    return _TOLERANT.get()
