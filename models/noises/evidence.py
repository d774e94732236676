"""The largest likelihood of a noise's parameters, by a quasi-Newton search in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from groundvae.models.noises.noise import Noise

N = TypeVar("N", bound=Noise)
STEPS = 60
ENOUGH = 0.01  # nats: smaller gains of a step end the search


def maximize(noise: N, density: Callable[[N], Tensor], samples: float) -> None:
    """Move what is learned of ``noise`` to where its ``density`` (), nats a sample, is largest.

    ``samples`` of data are behind it. The best point seen is kept, also where the search ends
    because a covariance further on is not positive in the digits there are.
    Source: Nocedal & Wright (2006), algorithm 7.5, with strong Wolfe conditions.
    """
    twin = deepcopy(noise).double()
    learned = twin.learned()
    if not learned:
        return
    search = torch.optim.LBFGS(
        learned,
        max_iter=STEPS,
        history_size=20,
        tolerance_grad=1e-9,
        tolerance_change=ENOUGH / samples,
        line_search_fn="strong_wolfe",
    )
    lowest, best = math.inf, deepcopy(twin.state_dict())

    def loss() -> float:
        nonlocal lowest, best
        search.zero_grad()
        value = -density(twin)
        value.backward()
        found = value.item()
        if not math.isfinite(found):
            raise LinAlgError("the density is not finite")
        if found < lowest:
            lowest, best = found, deepcopy(twin.state_dict())
        return found

    with torch.enable_grad(), suppress(LinAlgError):
        search.step(loss)
    noise.load_state_dict(best)
