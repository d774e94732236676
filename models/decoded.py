"""What latents decode to: the full model's observations, and those of the models inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from pyro import poutine
from torch import Tensor


@dataclass(frozen=True)
class Decoded:
    """Noiseless observations under one draw of the latents, each ``(..., *event)``.

    ``full`` is x_AB of the paper (eq. 6), ``physics`` the reduced model x_P (eq. 7; None where
    there is no physics), ``partial`` the models in between: with the residuals in the dynamics
    alone (``"dynamics"``, x_A) and with those on the observation alone (``"observation"``, x_B).
    """

    full: Tensor
    physics: Tensor | None = None
    partial: Mapping[str, Tensor] = field(default_factory=dict)


def joined(parts: Sequence[Decoded]) -> Decoded:
    """Decoded pieces as one, along their first axis."""
    first = parts[0]
    full = torch.cat([part.full for part in parts])
    if first.physics is None:
        return Decoded(full)
    physics = torch.cat([cast(Tensor, part.physics) for part in parts])
    partial = {k: torch.cat([part.partial[k] for part in parts]) for k in first.partial}
    return Decoded(full, physics, partial)


def site_value(trace: poutine.Trace, name: str) -> Tensor:
    """The value of one site of a trace."""
    return cast(Tensor, trace.nodes[name]["value"])


def returned(trace: poutine.Trace) -> Decoded:
    """What ``GreyBox`` returned in a trace of it."""
    return cast(Decoded, trace.nodes["_RETURN"]["value"])
