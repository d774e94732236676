"""The errors a user can meet, told in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches

_TOLERANT: ContextVar[bool] = ContextVar("tolerant", default=False)


class InputError(ValueError):
    """Bad input. The message is one sentence: what is wrong, where, what was expected."""


class NonFiniteError(ArithmeticError):
    """A computation left the finite numbers; the message names the quantity and the sample."""


def meant(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a word that is not known: the one that is nearest to it.

    >>> meant("pendulm", ["gait", "pendulum"])
    "; did you mean 'pendulum'?"
    >>> meant("spring", ["gait", "pendulum"])
    ''
    """
    near = get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


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
