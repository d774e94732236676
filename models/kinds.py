"""Names by which saved runs find the classes of their components again.

A class of ours goes by its own name. Two files may each have a ``Spring``: a class of a user's
goes by module, name and a hash of its source, so that no run takes another's law in silence.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable
from typing import TypeVar

from groundvae.data.errors import InputError

OURS = "groundvae."
HASH = 12  # hexadecimal digits
T = TypeVar("T")


def written_name(kind: type) -> str:
    """The name of a class that its file, or ``kind_named`` of the same classes, finds again.

    >>> from groundvae.models.systems.pendulum import Pendulum
    >>> written_name(Pendulum)
    'Pendulum'
    """
    if kind.__module__.startswith(OURS):
        return kind.__name__
    return f"{kind.__module__}:{kind.__qualname__}@{_hash(kind)}"


def kind_named(name: str, kinds: Iterable[type[T]]) -> type[T]:
    """The class among ``kinds`` that was written as ``name``.

    A class that was moved is found by its source. A bare name, as older runs have it, is one of
    ours before it is a user's.

    Raises:
        InputError: there is none, several that it could be, or one whose source has changed.

    """
    place, _, source = name.partition("@")
    module, _, path = place.rpartition(":")
    bare = path.rpartition(".")[2]
    known = list(kinds)
    called = [kind for kind in known if kind.__name__ == bare]
    if not module:
        called = [kind for kind in called if kind.__module__.startswith(OURS)] or called
    same = [kind for kind in called if written_name(kind) == name]
    found = same or [kind for kind in called if not source or _hash(kind) == source]
    if len(found) == 1:
        return found[0]
    if found:
        where = " and in ".join(sorted({kind.__module__ for kind in found}))
        raise InputError(f"{bare!r} could be any of those in {where}, expected one of that name")
    if called:
        where = ", ".join(sorted({kind.__module__ for kind in called}))
        raise InputError(
            f"the {bare!r} in {where} is another than that of {module}, which was written, "
            "expected the same source"
        )
    among = ", ".join(dict.fromkeys(kind.__name__ for kind in known))
    raise InputError(f"there is no {bare!r} among {among}")


def _hash(kind: type) -> str:
    """Of a class's source, or, where a notebook cannot tell that, of its functions' own."""
    try:
        text = inspect.getsource(kind)
    except (OSError, TypeError):
        functions = [f for f in vars(kind).values() if inspect.isfunction(f)]
        try:
            text = "".join(inspect.getsource(each) for each in functions)
        except (OSError, TypeError):
            return ""
    return hashlib.sha256(text.encode()).hexdigest()[:HASH]
