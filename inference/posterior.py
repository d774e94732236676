"""The posterior of many observations in one batched pass, chunked to bound memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import arviz as az
import pyro
import torch
import xarray as xr
from pyro import poutine
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides.guide import log_prob_of
from groundvae.guides.population import population_of
from groundvae.inference.inferencedata import to_inference_data
from groundvae.inference.outofdistribution import mark, score_observations
from groundvae.inference.prediction import predict
from groundvae.inference.run import Run
from groundvae.inference.simulation import simulate
from groundvae.models.greybox import OBSERVATION, site_value
from groundvae.models.intervention import Change

VALUES = 2_000_000  # decoded samples held at once


@dataclass(frozen=True)
class PosteriorOptions:
    """How much to draw."""

    draws: int = 500
    """Draws of the latents for each observation."""
    predictive_draws: int = 100
    """Of these, how many are decoded: predictions, log-likelihoods, importance weights."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self) -> None:
        if self.draws < 1 or self.predictive_draws < 1:
            raise InputError("draws and predictive_draws must be 1 or more")


def posterior(
    run: Run,
    data: Dataset,
    options: PosteriorOptions | None = None,
    *,
    changes: Mapping[str, Change] | None = None,
    until: float | None = None,
    scored_by: Run | None = None,
) -> az.InferenceData:
    """The posterior of each observation of ``data``, and what it predicts.

    Args:
        run: the fitted model and guide.
        data: what was observed.
        options: how much to draw.
        changes: interventions on latents after they are inferred (counterfactuals); all other
            latents keep their draws.
        until: predict up to this time (s), at the time step of the data.
        scored_by: the run whose guide scores what is unusual, where that of ``run`` was trained on.

    Returns:
        Groups ``posterior``, ``posterior_predictive`` (with noise), ``physics_predictive``
        (the reduced model), ``log_likelihood`` and ``sample_stats`` (``log_weight`` =
        log p(x, z) - log q(z | x)) where nothing was changed, ``prior``,
        ``prior_predictive``, ``observed_data`` and ``constant_data`` (true latents, and where
        the run knows its data ``out_of_distribution``: whether an observation is unlike them).

    """
    options = options or PosteriorOptions()
    unknown = sorted(set(changes or {}) - set(run.model.latent_names))
    if unknown:
        known = ", ".join(run.model.latent_names)
        raise InputError(f"no latent {unknown[0]!r} to intervene on, known: {known}")
    like = run.model.noise.log_scale
    batch = Batch.of(data, device=str(like.device), dtype=like.dtype)
    ahead = batch if until is None else _extended(batch, until)
    with torch.no_grad(), torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(options.seed)
        hyper = population_of(run.guide).draw(torch.Size([options.draws, 1]))
        rows = VALUES // ahead.x[0].numel()
        size = max(1, rows // max(options.draws // 4, options.predictive_draws))
        chunks = [
            _draw(run, batch[i : i + size], ahead[i : i + size], options, changes, hyper)
            for i in range(0, len(batch), size)
        ]
        population = {name: value.squeeze(1) for name, value in hyper.items()}
        prior = simulate(run.model, ahead, options.predictive_draws)
    groups = {
        group: {name: torch.cat([c[group][name] for c in chunks], dim=1) for name in names}
        for group, names in chunks[0].items()
    }
    groups["posterior"] |= population
    groups["prior"] = prior.latents
    groups["prior_predictive"] = {OBSERVATION: prior.full.x}
    return to_inference_data(
        run, data, groups, ahead.inputs, reference_marks(scored_by or run, batch)
    )


def reference_marks(run: Run, batch: Batch) -> xr.Dataset | None:
    """Which observations are unlike those that the run knows; None where it knows none."""
    if run.ood_reference is None:
        return None
    scores = score_observations(run.ood_reference, run.model, run.guide, batch)
    return mark(scores, run.ood_reference.known())


def _draw(
    run: Run,
    batch: Batch,
    ahead: Batch,
    options: PosteriorOptions,
    changes: Mapping[str, Change] | None,
    hyper: Mapping[str, Tensor],
) -> dict[str, dict[str, Tensor]]:
    """All groups of one chunk, each array (draw, observation, ...)."""
    with pyro.plate("draw", options.draws, dim=-2):
        guide_trace = poutine.trace(run.guide).get_trace(batch)
    latents = {name: site_value(guide_trace, name) for name in run.model.latent_names}
    n = min(options.draws, options.predictive_draws)
    first = {name: value[:n] for name, value in {**latents, **hyper}.items()}
    prediction = predict(run, batch, ahead, first, changes)
    changed = latents | {
        name: run.model.latents.wrapped(name, change(latents[name]))
        for name, change in (changes or {}).items()
    }
    groups = {"posterior": changed, **prediction.groups}
    if prediction.log_joint is not None:
        log_q = log_prob_of(guide_trace, batch)[:n]
        groups["sample_stats"] = {"log_weight": prediction.log_joint - log_q}
    return groups


def _extended(batch: Batch, until: float) -> Batch:
    """The batch with its times carried on to ``until`` (s); the new samples are missing."""
    if "t" not in batch.inputs:
        raise InputError(f"until is {until:g} s, but the data have no times to go beyond")
    times = batch.inputs["t"]
    if until < float(times[-1]):
        raise InputError(f"until is {until:g} s, before the data's last time {times[-1]:g} s")
    step = torch.diff(times).median() if len(times) > 1 else times.new_tensor(0.05)
    more = int(torch.floor((until - times[-1]) / step + 1e-3))
    later = times[-1] + step * torch.arange(1, more + 1, device=times.device)
    extended = torch.cat([times, later.to(times)])
    x = batch.x.new_zeros(*batch.x.shape[:1], len(extended), *batch.x.shape[2:])
    observed = torch.zeros_like(x, dtype=torch.bool)
    return Batch(x, {**batch.inputs, "t": extended}, observed)
