"""Interventions: the same Pyro program with some latents changed after they are drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor

from groundvae.data.errors import InputError

FORM = re.compile(r"^\s*([A-Za-z_]\w*)\s*([*+]?)=\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*$")


@dataclass(frozen=True)
class Change:
    """``factor * value + shift``; a factor of 0 sets the latent to ``shift``."""

    factor: float = 1.0
    shift: float = 0.0

    def __call__(self, value: Tensor) -> Tensor:
        """Values (...) of a latent, changed."""
        return self.factor * value + self.shift


class Intervention(Messenger):
    """Changes latents by name; everything downstream of them follows.

    >>> import pyro, torch
    >>> with Intervention({"omega": Change(factor=2.0)}):
    ...     pyro.sample("omega", pyro.distributions.Delta(torch.tensor(1.5)))
    tensor(3.)
    """

    def __init__(self, changes: Mapping[str, Change]) -> None:
        super().__init__()
        self.changes = dict(changes)

    def _pyro_post_sample(self, message: dict[str, Any]) -> None:
        if message["name"] in self.changes:
            message["value"] = self.changes[message["name"]](message["value"])


def parse_intervention(text: str) -> tuple[str, Change]:
    """Read ``omega*=2``, ``omega+=0.1`` or ``omega=1.5``.

    >>> parse_intervention("omega*=2")
    ('omega', Change(factor=2.0, shift=0.0))
    """
    match = FORM.fullmatch(text)
    try:
        number = float(match[3]) if match else None
    except ValueError:
        number = None
    if match is None or number is None or not math.isfinite(number):
        raise InputError(
            f"intervention {text!r} cannot be read, expected NAME*=NUMBER, NAME+=NUMBER "
            "or NAME=NUMBER"
        )
    by_operator = {
        "*": Change(factor=number),
        "+": Change(shift=number),
        "": Change(factor=0.0, shift=number),
    }
    return match[1], by_operator[match[2]]
