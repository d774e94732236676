"""What is public says what it takes and gives: shapes of arrays, and the errors that it raises."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest

import groundvae

ARRAY = re.compile(r"\b(Tensor|ndarray|Values|Rate)\b")
"""In an annotation: what is an array, or arrays by name."""
SHAPE = re.compile(r"\(\)|\(\.\.\.|\([\w*][\w* +]*,[^()]*\)|\(\*\w+\)|\([^()]*, \.\.\.\)")
"""In a docstring: ``()``, ``(...)``, ``(n,)``, ``(observation, time)``, ``(*over)``."""
SHAPES = "Shapes, of all methods:"
"""In a class's docstring: what then need not be said again of each."""
CONSTRUCTORS = ("__init__", "__post_init__", "__init_subclass__")
Found = tuple[str, Callable[..., Any], str]
"""A public callable: its name, itself, its docstring."""


def public() -> Iterator[Found]:
    """Every function and class that is re-exported, and every public method of the classes."""
    for name in groundvae.__all__:
        thing = getattr(groundvae, name)
        if not thing.__module__.startswith("groundvae."):
            continue  # a prior of Pyro's
        if isinstance(thing, type):
            yield from methods(name, thing)
        else:
            yield name, thing, inspect.getdoc(thing) or ""


def methods(name: str, kind: type) -> Iterator[Found]:
    """The methods that a class of ours has, its ancestors' among them.

    Of a constructor the docstring is the class's; one that overrides another and says nothing of
    its own keeps to what that one says.
    """
    ours = [k for k in kind.__mro__ if k.__module__.startswith("groundvae.")]
    seen = set()
    for owner in ours:
        for method, value in vars(owner).items():
            function = unwrapped(value)
            if function is None or method in seen:
                continue
            seen.add(method)
            if method in CONSTRUCTORS:
                yield f"{name}.{method}", function, inspect.getdoc(owner) or ""
            elif not method.startswith("_") or method == "__call__":
                yield f"{name}.{method}", function, inspect.getdoc(getattr(kind, method)) or ""


def unwrapped(value: object) -> FunctionType | None:
    """The function behind a method, a property, or a decorated one."""
    if isinstance(value, property):
        value = value.fget
    value = inspect.unwrap(getattr(value, "__func__", value))  # type: ignore[arg-type]
    return value if isinstance(value, FunctionType) else None


def has_arrays(function: Callable[..., Any]) -> bool:
    """Whether an annotation of a function names an array."""
    return any(ARRAY.search(str(a)) for a in getattr(function, "__annotations__", {}).values())


def raised(function: Callable[..., Any]) -> set[str]:
    """What a function raises itself, by name; not what says that a method is not there."""
    if function.__code__.co_filename == "<string>":  # made by dataclasses
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            names.add(ast.unparse(node.exc.func).split(".")[-1])
    names = {name for name in names if name[0].isupper()}
    return names - {"NotImplementedError"}


def without_shapes(found: Found) -> bool:
    name, function, text = found
    kind = getattr(groundvae, name.partition(".")[0], type)
    told = [SHAPES in (k.__doc__ or "") for k in getattr(kind, "__mro__", ())]
    return has_arrays(function) and not any(told) and not SHAPE.search(text)


def silent_about_errors(found: Found) -> bool:
    _, function, text = found
    return bool(raised(function)) and not all(
        error in text.partition("Raises:")[2] for error in raised(function)
    )


def test_arrays_have_shapes() -> None:
    assert [found[0] for found in public() if without_shapes(found)] == []


def test_errors_are_told() -> None:
    assert [found[0] for found in public() if silent_about_errors(found)] == []


@pytest.mark.parametrize("text", ["()", "(...)", "(..., time)", "(n,)", "(row, column)", "(*over)"])
def test_shapes_are_recognized(text: str) -> None:
    assert SHAPE.search(f"A tensor {text} of it.")


def test_what_is_missing_would_be_found() -> None:
    def takes(x: "Tensor") -> None:  # type: ignore[name-defined]  # noqa: F821, UP037
        """Says nothing (of a shape)."""
        raise ValueError("x")

    found = ("takes", takes, inspect.getdoc(takes) or "")
    assert without_shapes(found)
    assert silent_about_errors(found)
    told = "Of (n,).\n\nRaises:\n    ValueError: always."
    assert not without_shapes(("takes", takes, told))
    assert not silent_about_errors(("takes", takes, told))
