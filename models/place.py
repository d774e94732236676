"""Where in somebody's file a law stands, or went wrong: what an error names."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def place_of(function: Callable[..., Any], error: BaseException | None = None) -> str:
    """File, line and name of a function; of an error that came through its file, the line of that.

    >>> place_of(place_of).split(": ", 1)[1]
    'line 12: place_of'
    """
    plain = inspect.unwrap(getattr(function, "__func__", function))
    file, line = plain.__code__.co_filename, plain.__code__.co_firstlineno
    if error is not None:
        line = line_of(error, file) or line
    return f"{file}: line {line}: {plain.__qualname__}"


def line_of(error: BaseException, file: str | Path) -> int | None:
    """The last line of a file that an error came through; None where it did not."""
    if isinstance(error, SyntaxError):
        return error.lineno
    frames, path = traceback.extract_tb(error.__traceback__), Path(file).resolve()
    lines = [f.lineno for f in frames if Path(f.filename).resolve() == path]
    return lines[-1] if lines else None
