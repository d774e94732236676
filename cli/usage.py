"""A command line that cannot be read: the parser's box of text as one sentence."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr

from groundvae.data.errors import InputError, meant
from groundvae.guides.options import KNOWN

ANSI = re.compile(r"\x1b\[[0-9;]*m")
INNER = re.compile(r"Error parsing __tyro-dummy-inner__[\w.-]*: ")
UNKNOWN = re.compile(r"Unrecognized options: (\w+).*Available subcommands: ([\w, ]+)$")
CROSSED = ("--variants", "--guides", "--priors", "--seeds")
LISTS = ("--do", "--prior", "--reprior", "--weight", "--set", "--only", "--mix", *CROSSED)
ADVICE = (
    "Argument helptext",
    "Arguments are applied",
    "Got errors",
    "For full helptext",
)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn tyro's exit with code 2 into an InputError that says what its box says.

    Only what tyro makes public is used: the exit code and the text on stderr.
    """
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            yield
    except SystemExit as stop:
        if stop.code != 2:
            sys.stderr.write(box.getvalue())
            raise
        raise InputError(f"{advised(flatten(box.getvalue()))}; see --help") from None
    sys.stderr.write(box.getvalue())


def refuse_repeats(arguments: Sequence[str]) -> None:
    """Refuse a list given in two parts, of which the parser would silently keep the last.

    >>> refuse_repeats(["predict", "--do", "omega*=2", "theta0=0"])
    >>> refuse_repeats(["predict", "--do", "omega*=2", "--do=theta0=0"])
    Traceback (most recent call last):
    groundvae.physics.errors.InputError: --do is given twice, expected once with all its values
    """
    options = [text.partition("=")[0] for text in arguments]
    for option in LISTS:
        if options.count(option) > 1:
            raise InputError(f"{option} is given twice, expected once with all its values")


def advised(told: str) -> str:
    """The sentence with the guide options listed where one of them is unknown, and without
    the parser's inner names.

    >>> advised("Unrecognized options: --guide.depth, 3")[:61]
    'Unrecognized options: --guide.depth, 3; guide options: width,'
    """
    told = INNER.sub("", told)
    word = UNKNOWN.search(told)
    if word:
        return told + meant(word[1], word[2].split(", "))
    if told.startswith("Unrecognized") and "--guide." in told:
        return f"{told}; guide options: {', '.join(KNOWN)}"
    return told


def flatten(box: str) -> str:
    r"""The text of a box without its frame and its advice.

    >>> flatten("╭─ Title ─╮\n│ No such  │\n│ thing.   │\n│ ──────── │\n│ For full helptext │")
    'No such thing'
    """
    blocks: list[list[str]] = [[]]
    for line in ANSI.sub("", box).splitlines():
        text = line.strip("│| ")  # the latter where there are no letters but ASCII
        if not text or set(text) <= {"─", "-"}:
            blocks.append([])
        elif text[0] not in "╭╰+":
            blocks[-1].append(text)
    blocks = [_suggested(lines) for lines in blocks]
    told = [" ".join(lines) for lines in blocks if lines and not lines[0].startswith(ADVICE)]
    return "; ".join(part.removesuffix(".").rstrip() for part in told) or "cannot be read"


def _suggested(lines: list[str]) -> list[str]:
    """Of options that may have been meant, the first."""
    if len(lines) > 1 and lines[0].startswith("Perhaps you meant"):
        return [f"did you mean {lines[1].split()[0].rstrip(',')}?"]
    return lines
