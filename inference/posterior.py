"""The posterior of many observations in one batched pass, chunked to bound memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from groundvae.guides.simulation import simulate
from groundvae.inference.inferencedata import WEIGHTS, to_inference_data
from groundvae.inference.options import PosteriorOptions as PosteriorOptions
from groundvae.inference.outofdistribution import mark, score_observations, surprise_of
from groundvae.inference.prediction import predict
from groundvae.inference.run import Run
from groundvae.models.greybox import AUXILIARY, OBSERVATION, site_value
from groundvae.models.intervention import Change

VALUES = 2_000_000  # decoded samples held at once
NARROW = 32  # parts of z_aux, beyond which those of decoded draws alone are kept, as weights


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
        changes: interventions on latents after they are inferred; the others keep their draws.
        until: predict up to this time (s), at the time step of the data.
        scored_by: the run whose guide scores what is unusual, where that of ``run`` was trained on.

    Returns:
        Groups, axes (chain, draw, observation, ...): ``posterior``, ``posterior_predictive`` (with
        noise), ``physics_predictive`` (the reduced model), ``log_likelihood`` and ``sample_stats``
        (``log_weight`` = log p(x, z) - log q(z | x)) where nothing was changed, ``prior``,
        ``prior_predictive``, ``observed_data`` and ``constant_data`` (true latents, what the guide
        says of each observation, and where the run knows its data ``out_of_distribution``: whether
        an observation is unlike them).

    Raises:
        InputError: no such latent to change, no such input, or ``until`` before the data end.

    """
    options = options or PosteriorOptions()
    unknown = sorted(set(changes or {}) - set(run.model.latent_names))
    if unknown:
        known = ", ".join(run.model.latent_names)
        raise InputError(f"no latent {unknown[0]!r} to intervene on, known: {known}")
    data = data.declare(run.model.system.inputs)
    batch = run.batch(data)
    ahead = batch if until is None else batch.until(until)
    with torch.no_grad(), torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(options.seed)
        hyper = run.guide.population.draw(torch.Size([options.draws, 1]))
        rows = VALUES // ahead.x[0].numel()
        size = max(1, rows // max(options.draws // 4, options.predictive_draws))
        own = scored_by is None and run.ood_reference is not None
        chunks, surprise, judged = [], [], []
        for i in range(0, len(batch), size):
            part = batch[i : i + size]
            found = run.guide.examine(part)
            chunks.append(_draw(run, part, found, ahead[i : i + size], options, changes, hyper))
            judged.append(run.guide.judge(found))
            if own:  # while it is at hand: to search again costs as much as all else
                surprise.append(surprise_of(run.model, run.guide, part, found))
        population = {name: value.squeeze(1) for name, value in hyper.items()}
        prior = simulate(run.model, ahead, options.predictive_draws)
    groups = {
        group: {name: torch.cat([c[group][name] for c in chunks], dim=1) for name in names}
        for group, names in chunks[0].items()
    }
    groups["posterior"] |= population
    groups["prior"] = prior.latents
    groups["prior_predictive"] = {OBSERVATION: prior.full.x}
    marks = reference_marks(scored_by or run, batch, torch.cat(surprise) if own else None)
    found_of = {k: torch.cat([each[k] for each in judged]).numpy() for k in judged[0]}
    verdicts = xr.Dataset({k: ("observation", v) for k, v in found_of.items()})
    marks = verdicts if marks is None else marks.merge(verdicts)
    return to_inference_data(run, data, groups, ahead.inputs, marks)


def reference_marks(run: Run, batch: Batch, surprise: Tensor | None = None) -> xr.Dataset | None:
    """Which observations are unlike those that the run knows; None where it knows none."""
    if run.ood_reference is None:
        return None
    scores = score_observations(run.ood_reference, run.model, run.guide, batch, surprise)
    return mark(scores, run.ood_reference.known())


def _draw(
    run: Run,
    batch: Batch,
    found: object,
    ahead: Batch,
    options: PosteriorOptions,
    changes: Mapping[str, Change] | None,
    hyper: Mapping[str, Tensor],
) -> dict[str, dict[str, Tensor]]:
    """All groups of one chunk, each array (draw, observation, ...)."""
    n = min(options.draws, options.predictive_draws)
    with pyro.plate("draw", n, dim=-2):
        trace = poutine.trace(run.guide).get_trace(batch, found)
    first = {name: site_value(trace, name) for name in run.model.latent_names}
    wide = run.model.auxiliary > NARROW
    kept = [name for name in run.model.latent_names if not (wide and name == AUXILIARY)]
    # Before anything is predicted: draws are the same, whatever is.
    more = _more(run, batch, found, options.draws - n, kept)
    prediction = predict(run, batch, ahead, first | {k: v[:n] for k, v in hyper.items()}, changes)
    groups = dict(prediction.groups)
    if prediction.log_joint is not None:
        groups["sample_stats"] = {"log_weight": prediction.log_joint - log_prob_of(trace, batch)}
    drawn = _decodable({"first": first, **groups})
    first = drawn.pop("first")
    latents = {name: torch.cat([first[name], more[name]]) for name in kept}
    if wide:
        drawn[WEIGHTS] = {AUXILIARY: first[AUXILIARY].float()}
    return drawn | {"posterior": _changed(run, latents, changes)}


def _more(
    run: Run, batch: Batch, found: object, draws: int, names: Sequence[str]
) -> dict[str, Tensor]:
    """Further draws of the guide, which nobody decodes."""
    with pyro.plate("draw", max(draws, 1), dim=-2):
        trace = poutine.trace(run.guide).get_trace(batch, found)
    return {name: site_value(trace, name)[:draws] for name in names}


def _changed(
    run: Run, latents: Mapping[str, Tensor], changes: Mapping[str, Change] | None
) -> dict[str, Tensor]:
    """Latents after interventions."""
    wrapped = run.model.latents.wrapped
    changed = {
        name: wrapped(name, change(latents[name])) for name, change in (changes or {}).items()
    }
    return {**latents, **changed}


def _decodable(groups: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Draws whose path left the finite numbers, each replaced by another of its observation.

    The model's density is zero there; of an observation without a finite draw they stay NaN.
    """
    x = groups["posterior_predictive"][OBSERVATION]
    good = torch.isfinite(x).flatten(2).all(-1)  # (draw, observation)
    if bool(good.all()) or not bool(good.any()):
        return groups
    spare = torch.multinomial(good.T.double() + 1e-12, len(good), replacement=True).T
    own = torch.arange(len(good)).unsqueeze(-1).expand_as(spare)
    index = torch.where(good, own, spare)
    rows = torch.arange(index.shape[1])
    return {
        group: {name: value[index, rows] for name, value in values.items()}
        for group, values in groups.items()
    }
