"""A solver's step, fine enough for latents that were changed.

A step that was right for what was observed need not be so of a world that was made faster: the path
stays finite and is wrong. So the path is solved at the step and at half of it, as the step of a law
without a solver is found (``models.stepsize``), until both agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.errors import InputError
from groundvae.models.dynamics import Dynamics
from groundvae.models.greybox import AUXILIARY, GreyBox
from groundvae.models.intervention import Change
from groundvae.models.stepsize import disagreement
from groundvae.physics.errors import tolerant
from groundvae.physics.solver import stepped

HALVINGS = 5  # of the step, before changes count as too large to solve
SOME = 20  # draws of each observation that are tried
LOST = 0.25  # of them, whose path is not finite, above which a step is too long
NEAR = 0.01  # of the data's spread, that halving a step may move a path by
USUAL = 2.0  # times the error without changes, that is as good as none


@contextmanager
def fine_enough(
    model: GreyBox,
    batch: Batch,
    ahead: Batch,
    latents: Mapping[str, Tensor],
    changes: Mapping[str, Change],
) -> Iterator[float | None]:
    """Solve the law, inside, at a step that suits changed latents; gives it, s, if it has one.

    Args:
        model: of which a law of motion with a step is solved anew; others are left as they are.
        batch: what was observed, which says what is a small error.
        ahead: where it is predicted at.
        latents: (draw, observation, ...) as they were inferred.
        changes: to them.

    Raises:
        InputError: no step that is worth trying is fine enough.

    """
    system = model.system
    kept = system.solver if isinstance(system, Dynamics) else None
    inner: Any = None
    if changes and isinstance(system, Dynamics):
        inner = stepped(system.method)
    step: float | None = getattr(inner, "step", None)
    if not isinstance(system, Dynamics) or step is None:
        yield None
        return
    few = {k: v[:SOME] for k, v in latents.items() if k in model.latent_names}
    changed = few | {
        k: model.latents.wrapped(k, change(few[k])) for k, change in changes.items() if k in few
    }
    spread = (batch.x if batch.observed is None else batch.x[batch.observed]).std()

    def error(at: Mapping[str, Tensor], step: float) -> float:
        def solved(step: float) -> Tensor:
            system.solver = replace(inner, step=step)
            physics = {k: v for k, v in at.items() if k != AUXILIARY}
            with tolerant():
                found = model.decode(physics, at.get(AUXILIARY), ahead.inputs, reduced=False)
            return found.full.flatten(0, 1)

        lost = ~torch.isfinite(solved(step)).flatten(1).all(1)
        return math.inf if lost.float().mean() > LOST else disagreement(solved, step, spread)

    try:
        limit = max(NEAR, USUAL * error(few, step))
        tries = [step / 2**i for i in range(HALVINGS + 1)]
        fine = next((each for each in tries if error(changed, each) <= limit), None)
        if fine is None:
            raise InputError(
                f"{', '.join(changes)}: no step of {tries[-1]:.2g} s or above solves the law at "
                "the changed values, expected smaller changes"
            )
        system.solver = kept if fine == step else replace(inner, step=fine)
        yield fine
    finally:
        system.solver = kept
