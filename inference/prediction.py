"""What draws of the latents predict: decoded, with noise, and how likely the data are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyro
from pyro import poutine
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.guide import log_prob_of
from groundvae.inference.run import Run
from groundvae.models.greybox import OBSERVATION, returned
from groundvae.models.intervention import Change, Intervention
from groundvae.physics.errors import tolerant


@dataclass(frozen=True)
class Prediction:
    """Groups of arrays (draw, observation, ...) by name, and log p(x, z) (draw, observation).

    There are no likelihoods, and no ``log_joint``, of a world that was changed or carried on.
    """

    groups: dict[str, dict[str, Tensor]]
    log_joint: Tensor | None


def predict(
    run: Run,
    batch: Batch,
    ahead: Batch,
    latents: Mapping[str, Tensor],
    changes: Mapping[str, Change] | None = None,
) -> Prediction:
    """Decode ``latents`` (draw, observation, ...) at the inputs of ``ahead``.

    ``batch`` holds the observations that the latents were inferred from.
    """
    n = len(next(iter(latents.values()))) if latents else 1
    world = poutine.condition(run.model, data=dict(latents))
    with tolerant(), pyro.plate("draw", n, dim=-2), Intervention(changes or {}):
        trace = poutine.trace(world).get_trace(ahead)
    decoded = returned(trace)
    full = decoded.full.expand(n, *decoded.full.shape[-1 - run.model.system.event_dim :])
    noise, times = run.model.noise, ahead.inputs.get("t")
    groups = {"posterior_predictive": {OBSERVATION: noise.sample(full, times=times)}}
    if decoded.physics is not None:
        groups["physics_predictive"] = {OBSERVATION: decoded.physics}
    if changes or (ahead is not batch and ahead.x.shape != batch.x.shape):
        return Prediction(groups, None)
    pointwise = noise.pointwise(batch.x, full, batch.observed, times=times)
    groups["log_likelihood"] = {OBSERVATION: pointwise}
    return Prediction(groups, log_prob_of(trace, batch))
