"""What draws of the latents predict: decoded, with noise, and how likely the data are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyro
import torch
from pyro import poutine
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.guide import log_prob_of
from groundvae.inference.run import Run
from groundvae.models.circle import mean_direction
from groundvae.models.greybox import AUXILIARY, OBSERVATION, returned
from groundvae.models.intervention import Change, Intervention
from groundvae.models.normalscore import NormalScore
from groundvae.physics.errors import tolerant


@torch.no_grad()
def _middle(
    run: Run, batch: Batch, latents: Mapping[str, Tensor], full: Tensor
) -> tuple[Tensor, Tensor]:
    """What the middle of the draws decodes to, and the log density of each sample of the data.

    The median of what draws decode to or, where that is likelier, what their mean decodes to (of
    normal scores): of a wide posterior of a model that is not linear one can be far off.
    """
    model, times = run.model, batch.inputs.get("t")
    tried = [full.median(0).values]
    if model.latent_names:
        hyper = run.guide.population.centres()
        physics = {}
        for z in model.latents:
            if z.circular and z.period:
                physics[z.name] = z.wrapped(mean_direction(latents[z.name], z.period))
                continue
            score = NormalScore(z.prior_like(batch.x, hyper))
            physics[z.name] = score.value(score.score(latents[z.name]).mean(0))
        auxiliary = latents[AUXILIARY].mean(0) if model.auxiliary else None
        with tolerant():
            tried.append(model.decode(physics, auxiliary, batch.inputs, reduced=False).full)
    noise = model.noise.given(batch)
    likely = [noise.pointwise(batch.x, at, batch.observed, times=times) for at in tried]
    totals = torch.stack([value.flatten(1).nansum(1) for value in likely])
    lost = torch.stack([~torch.isfinite(at).flatten(1).all(1) for at in tried])
    best = totals.masked_fill(lost, -torch.inf).argmax(0)
    rows = torch.arange(len(best))
    return torch.stack(tried)[best, rows], torch.stack(likely)[best, rows]


RESIDUALS = "residuals"
"""Group of statistics of what predictions leave of the data, and of replicated data."""


def residuals(
    x: Tensor, middle: Tensor, replica: Tensor, full: Tensor, likely: Tensor, replica_likely: Tensor
) -> dict[str, Tensor]:
    """Statistics (draw, observation) of what is left of data, and of replicas of each draw.

    ``misfit`` is minus the log density, ``structure`` the correlation of neighbours along the first
    axis; ``*_replicated`` the same of replicas about the draw that they come from. Data about the
    middle of the draws that were inferred from them are a little nearer: so what they exceed
    replicas by, they exceed for a reason, and a guide whose draws stray is not taken for a model
    that misses something. Source: Gelman, Meng & Stern (1996).

    Args:
        x: what was observed (observation, *event).
        middle: of what draws decode to, likewise.
        replica: of the data (draw, observation, *event).
        full: what each draw decodes to, likewise.
        likely: log density of each sample of ``x`` about ``middle``; NaN is missing.
        replica_likely: of each sample of ``replica`` about ``full``.

    """
    seen, found = torch.isfinite(likely), {}
    sides = {"": (x - middle, likely), "_replicated": (replica - full, replica_likely)}
    for end, (left, density) in sides.items():
        off = torch.where(seen, left, torch.zeros_like(left)).expand(replica.shape)
        known = torch.where(seen, density, torch.zeros_like(density)).expand(replica.shape)
        size = (off**2).flatten(2).sum(-1)
        together = (off[:, :, 1:] * off[:, :, :-1]).flatten(2).sum(-1)
        found[f"misfit{end}"] = -known.flatten(2).sum(-1)
        found[f"structure{end}"] = together / size.clamp(min=torch.finfo(size.dtype).tiny)
    return found


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
    noise, times = run.model.noise.given(ahead), ahead.inputs.get("t")
    groups = {"posterior_predictive": {OBSERVATION: noise.sample(full, times=times)}}
    if decoded.physics is not None:
        groups["physics_predictive"] = {OBSERVATION: decoded.physics}
    if changes or (ahead is not batch and ahead.x.shape != batch.x.shape):
        return Prediction(groups, None)
    pointwise = noise.pointwise(batch.x, full, batch.observed, times=times)
    groups["log_likelihood"] = {OBSERVATION: pointwise}
    replica = groups["posterior_predictive"][OBSERVATION]
    likely = noise.pointwise(replica, full, batch.observed, times=times)
    middle, near = _middle(run, batch, latents, full)
    groups[RESIDUALS] = residuals(batch.x, middle, replica, full, near, likely)
    return Prediction(groups, log_prob_of(trace, batch))
