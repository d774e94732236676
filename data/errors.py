"""The error a user can meet: bad input, told in one sentence."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input. The message is one sentence: what is wrong, where, what was expected."""
