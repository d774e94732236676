"""Output is not the work: a stream that is closed, or cannot spell a letter, stops no command."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class LastingStream(io.TextIOBase):
    """A stream that goes silent where another would fail.

    Args:
        stream: where text goes; None: nowhere (a process may be started without any).

    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self.stream = stream

    def write(self, text: str) -> int:
        """Write what can be written; letters that the encoding lacks as their numbers."""
        self._try("write", text, spelled=text)
        return len(text)

    def flush(self) -> None:
        """Bring it out, if there is anywhere."""
        self._try("flush")

    def isatty(self) -> bool:
        """Whether somebody looks at a terminal."""
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        """Of the stream below.

        Raises:
            OSError: there is none.

        """
        if self.stream is None:
            raise io.UnsupportedOperation("no stream")
        return self.stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream below."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    def _try(self, action: str, *arguments: str, spelled: str = "") -> None:
        if self.stream is None:
            return
        try:
            getattr(self.stream, action)(*arguments)
        except UnicodeEncodeError:
            plain = spelled.encode(self.encoding, "backslashreplace").decode(self.encoding)
            self._try(action, plain)
        except (OSError, ValueError):  # the reader has gone, or the stream is closed
            _lead_nowhere(self.stream)
            self.stream = None


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let all that is printed go through such streams."""
    before: tuple[Any, Any] = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (LastingStream(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


def _lead_nowhere(stream: TextIO) -> None:
    """What is still held back would fail once more when the process ends: let it go nowhere."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # a stream without a number, or one that is closed
        return
