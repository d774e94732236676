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


class DivergedError(NonFiniteError):
    """A solution left the finite numbers.

    Args:
        sample: which one, counted over all axes before the state's.
        component: of its state, the first that did.
        time: from when on, s.
        remedy: what to do about it.
        detail: what is known of the sample beside its number, after a comma.

    """

    def __init__(
        self, sample: int, component: int, time: float, remedy: str, detail: str = ""
    ) -> None:
        told = f"the solution of sample {sample} is not finite from t = {time:g} s on"
        super().__init__(f"{told}{detail}; {remedy}")
        self.sample, self.component, self.time, self.remedy = sample, component, time, remedy

    def with_detail(self, detail: str) -> DivergedError:
        """The same, with more of the sample."""
        return DivergedError(self.sample, self.component, self.time, self.remedy, f", {detail}")


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
