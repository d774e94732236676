"""Registries: what can be asked for by name, open to anybody's own kinds.

A name is registered by a decorator, in a package of ours or in a file of yours, or offered by an
installed package through an entry point. Wherever a name may stand, so may the object itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from groundvae.data.errors import InputError, meant

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name, in the order in which they were registered.

    Args:
        kind: what one of them is called in an error, such as ``"residual"``.
        group: of entry points; the name of an entry point is that of what it loads.
        source: of a thing, what of it stands in a file: by default the thing itself.

    >>> colours: Registry[str] = Registry("colour", "groundvae.colours")
    >>> colours.register("sky")("blue")
    'blue'
    >>> colours["sky"], list(colours)
    ('blue', ['sky'])

    """

    def __init__(
        self, kind: str, group: str, source: Callable[[T], object] = lambda thing: thing
    ) -> None:
        self.kind, self.group, self.source = kind, group, source
        self._known: dict[str, T] = {}
        self._asked = False

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator that makes a class or an object known as ``name``.

        Raises:
            InputError: the name is taken by another.

        """

        def decorate(thing: T) -> T:
            known = self._known.setdefault(name, thing)
            if known is not thing and not _same(self.source(known), self.source(thing)):
                raise InputError(f"there is a {self.kind} {name!r} already, expected another name")
            self._known[name] = thing
            return thing

        return decorate

    def __getitem__(self, name: str) -> T:
        """The thing of that name.

        Raises:
            InputError: there is none; the message lists the known ones.

        """
        if name not in self._known:
            self._ask_packages()
        if name not in self._known:
            known = ", ".join(self._known)
            raise InputError(f"no {self.kind} {name!r}, known: {known}{meant(name, self._known)}")
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        self._ask_packages()
        return iter(self._known)

    def __len__(self) -> int:
        self._ask_packages()
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        if name not in self._known:
            self._ask_packages()
        return name in self._known

    def name_of(self, thing: object) -> str | None:
        """The name under which a thing is known; None where it is not."""
        return next((name for name, known in self._known.items() if known is thing), None)

    def _ask_packages(self) -> None:
        """Load what installed packages offer, once."""
        if self._asked:
            return
        self._asked = True
        for point in entry_points(group=self.group):
            if point.name not in self._known:
                self._known[point.name] = _loaded(point, self.kind)


def _loaded(point: Any, kind: str) -> Any:
    try:
        return point.load()
    except Exception as error:  # somebody else's package can fail in any way
        raise InputError(
            f"the {kind} {point.name!r} that {point.value} offers cannot be loaded ({error})"
        ) from error


def _same(known: object, thing: object) -> bool:
    """Whether two things are of one source, imported twice (as a module and as a file)."""
    one, other = _named(known), _named(thing)
    if one is other:
        return False
    return one.__qualname__ == other.__qualname__ and _file(one) == _file(other)


def _named(thing: object) -> Any:
    """A class or a function; of another object, its class."""
    return thing if hasattr(thing, "__qualname__") else type(thing)


def _file(thing: Any) -> object:
    try:
        return inspect.getsourcefile(thing)
    except TypeError:  # of what no file holds
        return thing
