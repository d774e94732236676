"""The state of a fit under way: tensors by name, parts of it under prefixes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

State = dict[str, Tensor]
BETWEEN = "/"


def joined(**parts: Mapping[str, Tensor]) -> State:
    """Several states as one.

    >>> sorted(joined(a={"x": torch.zeros(1)}, b={"x": torch.ones(1)}))
    ['a/x', 'b/x']
    """
    return {f"{k}{BETWEEN}{name}": v for k, part in parts.items() for name, v in part.items()}


def part(state: Mapping[str, Tensor], name: str) -> State:
    """One of the states that were ``joined``; empty where there was none.

    >>> list(part({"a/x": torch.zeros(1), "b/x": torch.ones(1)}, "a"))
    ['x']
    """
    start = name + BETWEEN
    return {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}


def copied(state: Mapping[str, Tensor]) -> State:
    """The same values, which nobody moves any more."""
    return {name: value.detach().clone() for name, value in state.items()}


def random_state() -> State:
    """Where torch's random numbers stand, on every device."""
    found = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found |= {f"cuda{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return found


def set_random_state(state: Mapping[str, Tensor]) -> None:
    """Go on with the random numbers from there."""
    torch.set_rng_state(state["cpu"].cpu())
    devices = [state[f"cuda{i}"].cpu() for i in range(len(state) - 1)]
    if devices:
        torch.cuda.set_rng_state_all(devices)
