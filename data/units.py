"""Units that a file states, beside those that a law declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundvae.data.errors import InputError

SAME = 1e-9  # of a factor between two units that are written in two ways


def check_units(stated: Mapping[str, str], declared: Mapping[str, str]) -> None:
    """Refuse numbers in other units than a law's, where both say what theirs are.

    They are refused, not converted: whoever wrote the file or the law is wrong about one of them,
    and only they know about which. Units that are written alike need no package; two ways of
    writing one (``m/s``, ``m s-1``) are told from two units by pint (``groundvae[units]``).

    Args:
        stated: by the name of an array, as the data have them; "" where nothing is stated.
        declared: by the same names, as the law does.

    Raises:
        InputError: two units differ, one is no unit, or pint is needed and not there.

    Examples:
        >>> check_units({"x": "m"}, {"x": "m", "mass": "kg"})

    """
    for name, unit in stated.items():
        expected = declared.get(name, "")
        if unit and expected and unit != expected:
            _compare(name, unit, expected)


def _compare(name: str, unit: str, expected: str) -> None:
    told = f"{name} is in {unit!r} in the data and in {expected!r} in the law"
    try:
        import pint
    except ImportError as error:
        raise InputError(
            f"{told}: whether these are one takes pint, expected `pip install groundvae[units]` or "
            "the same words"
        ) from error
    known: Any = pint.UnitRegistry()
    try:
        zero, one = (known.Quantity(v, unit).to(expected).magnitude for v in (0.0, 1.0))
    except Exception as error:  # pint raises whatever its parser comes upon
        raise InputError(f"{told}, expected one unit") from error
    if abs(zero) > SAME or abs(one - 1.0) > SAME:
        offset = f" {zero:+.6g}" if abs(zero) > SAME else ""
        raise InputError(f"{told}, expected one unit: values times {one - zero:.6g}{offset} are")
