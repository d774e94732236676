"""Signals that ask a command to stop: it ends what it is at, and says by which it was stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C, the end of a session or of a batch system's patience, a terminal that is closed.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """A signal stopped the work; ``number`` says which."""

    def __init__(self, number: int = signal.SIGINT, told: str = "interrupted") -> None:
        super().__init__(told)
        self.number = number


@contextmanager
def interruptible() -> Iterator[Callable[[], int]]:
    """Turn the first signal into a number that can be asked for, 0 before; the next acts as usual.

    A signal that is ignored (as under nohup) stays so; in another thread than the main one all do.
    """
    asked = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = number
        _restore(before)

    before = _take_over(note)
    try:
        yield lambda: asked
    finally:
        _restore(before)


@contextmanager
def stopping() -> Iterator[None]:
    """Raise ``Stopped`` at a signal, so that what is half-written is taken away."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number, f"interrupted by {name_of(number)}")

    before = _take_over(stop)
    try:
        yield
    finally:
        _restore(before)


def name_of(number: int) -> str:
    """Of a signal.

    >>> name_of(15)
    'SIGTERM'
    """
    return signal.Signals(number).name


def stopped_by(why: str) -> Stopped:
    """What to raise where a fit was interrupted, from why it was: ``"by SIGTERM"``.

    >>> stopped_by("by SIGTERM").number
    15
    """
    return Stopped(int(signal.Signals[why.removeprefix("by ")]), f"interrupted {why}")


Handler = Callable[[int, FrameType | None], None]


def _take_over(handler: Handler) -> dict[int, object]:
    """Have ``handler`` called by each signal; who was called before."""
    before: dict[int, object] = {}
    for name in NAMES:
        number = getattr(signal, name, None)  # not every system has all of them
        if number is None or signal.getsignal(number) in (signal.SIG_IGN, None):
            continue
        try:
            before[number] = signal.signal(number, handler)
        except ValueError:  # not the main thread: leave signals alone
            return before
    return before


def _restore(before: dict[int, object]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
