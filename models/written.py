"""Written values: a component remembers the plain values that it was built from.

A saved run holds its model as values, not as names of today's defaults: every argument of every
component, also those that were left at their default. So a changed default never breaks a run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from groundvae.data.errors import InputError
from groundvae.models.kinds import kind_named, written_name

PLAIN = (bool, int, float, str, type(None))
ARGUMENTS = "_written_arguments"
B = TypeVar("B")


class Written:
    """A class whose objects can be written down and built again.

    >>> class Pair(Written):
    ...     def __init__(self, a: int, *, b: float = 2.0) -> None: ...
    >>> Pair(1).arguments()
    {'a': 1, 'b': 2.0}

    """

    EARLIER: ClassVar[Mapping[str, Any]] = {}
    """Arguments that came later than some runs, with what stands for them in such a run."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _remembering(cls.__init__)  # type: ignore[method-assign]

    def arguments(self) -> dict[str, Any]:
        """What the object was built from, by name, all defaults included."""
        return dict(self.__dict__.get(ARGUMENTS, {}))

    def remember(self, **arguments: Any) -> None:
        """Keep arguments that were found out later, as if they had been given."""
        self.__dict__[ARGUMENTS].update(arguments)


def _remembering(build: Callable[..., None]) -> Callable[..., None]:
    """A constructor that keeps its arguments; the outermost class's are those that count."""
    signature = inspect.signature(build)

    @functools.wraps(build)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        if ARGUMENTS not in self.__dict__:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            given = dict(list(bound.arguments.items())[1:])
            self.__dict__[ARGUMENTS] = given
        build(self, *args, **kwargs)

    return init


def plain(value: Any, where: str) -> Any:
    """A value as JSON holds it: numbers, strings, lists, mappings of these, and components.

    Raises:
        InputError: a value that cannot be written; ``where`` says of what.

    """
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, type):
        return written_name(value)
    if isinstance(value, Written):
        return write(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v, where) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [plain(v, where) for v in value]
    raise InputError(
        f"{where} has an argument of type {type(value).__name__}, which cannot be saved, expected "
        "numbers, strings, or components made of these"
    )


def write(thing: Written) -> dict[str, Any]:
    """The kind of a component and its arguments."""
    kind = type(thing)
    given = {k: plain(v, kind.__name__) for k, v in thing.arguments().items()}
    return {"kind": written_name(kind), **given}


def build(values: Mapping[str, Any], kinds: Iterable[type[B]]) -> B:
    """The component that was written as ``values``, one of ``kinds``.

    Raises:
        InputError: no such kind, or several, or arguments that it does not take.

    """
    given = dict(values)
    kind = kind_named(given.pop("kind", ""), kinds)
    try:
        return kind(**{**getattr(kind, "EARLIER", {}), **given})
    except TypeError as error:
        name = kind.__name__
        raise InputError(f"{name} cannot be built from {sorted(given)} ({error})") from error


def again(thing: B) -> B:
    """A fresh component from the same arguments."""
    assert isinstance(thing, Written)
    made: B = type(thing)(**thing.arguments())
    return made
