"""The posterior of many observations in one batched pass, chunked to bound memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
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
from groundvae.inference import arviz as az
from groundvae.inference.annealed import improve, log_joint_of
from groundvae.inference.bad import (
    NothingInferredError,
    each_alone,
    prior_latents,
    stood_in,
    with_stand_ins,
)
from groundvae.inference.block import Groups, block_seed, block_size, joined
from groundvae.inference.inferencedata import WEIGHTS, to_inference_data
from groundvae.inference.options import PosteriorOptions as PosteriorOptions
from groundvae.inference.outofdistribution import mark, score_observations, surprise_of
from groundvae.inference.prediction import RESIDUALS, predict
from groundvae.inference.reaching import reaching
from groundvae.inference.room import WEIGHED, make_room
from groundvae.inference.run import Run
from groundvae.inference.runaway import decodable
from groundvae.inference.steps import fine_enough
from groundvae.models.greybox import AUXILIARY, OBSERVATION, site_value
from groundvae.models.intervention import Change

NARROW = 32  # parts of z_aux, beyond which those of decoded draws alone are kept, as weights
AWAY, JUDGED, SURPRISE, IMPROVED = "runaway_draws", "judged", "surprise", "improved"
APART = ("log_likelihood", "sample_stats", RESIDUALS, AWAY, JUDGED, SURPRISE)
"""Groups that the prior has none of."""
UNKNOWN = ("log_likelihood", RESIDUALS, JUDGED, SURPRISE)
"""Of these, those that are not known of an observation without a posterior."""


def posterior(
    run: Run,
    data: Dataset,
    options: PosteriorOptions | None = None,
    *,
    changes: Mapping[str, Change] | None = None,
    until: float | None = None,
    scored_by: Run | None = None,
    first: int = 0,
) -> az.InferenceData:
    """The posterior of each observation of ``data``, and what it predicts.

    Draws are those of blocks of ``block_size`` observations, each of a seed of its own.

    Args:
        run: the fitted model and guide.
        data: what was observed.
        options: how much to draw.
        changes: interventions on latents after they are inferred; the others keep their draws.
        until: predict up to this time (s), at the time step of the data.
        scored_by: the run that scores what is unusual, where that of ``run`` was trained on.
        first: where ``data`` are blocks of a larger whole, the number of their first observation
            there; its draws are the same as among all.

    Returns:
        Groups, axes (chain, draw, observation, ...): ``posterior``, ``posterior_predictive`` (with
        noise), ``physics_predictive``, where nothing was changed ``log_likelihood``,
        ``sample_stats`` (``log_weight`` = log p(x, z) - log q(z | x), or what the whole way made of
        log p(x) where draws were carried on) and ``residuals``; ``prior``, ``prior_predictive``,
        ``observed_data``, ``constant_data`` (what is known of each; ``annealed``: whose draws were
        carried on to the model's own posterior, ``annealed_k_hat`` of the weights of that way).

    Raises:
        InputError: a senseless change, no such input, ``until`` too early, nothing to infer from.

    """
    options = options or PosteriorOptions()
    _refuse_unknown(run, changes or {})
    data = data.declare(run.model.system.inputs)
    run, batch = reaching(run, until), run.batch(data)
    ahead = batch if until is None else batch.until(until)
    with torch.no_grad(), torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(options.seed)
        hyper = run.guide.population.draw(torch.Size([options.draws, 1]))
        prior = simulate(run.model, ahead, options.predictive_draws)
        whole, bad = with_stand_ins(batch)
        own = scored_by is None and run.ood_reference is not None
        asked = _Asked(run, options, changes or {}, hyper, own)
        chunks = asked.chunks(whole, ahead, bad, first)
    groups = joined(chunks)
    away, judged = groups.pop(AWAY)[AWAY][0], groups.pop(JUDGED)
    surprise = groups.pop(SURPRISE).get(SURPRISE, [None])[0]
    groups["posterior"] |= {name: value.squeeze(1) for name, value in hyper.items()}
    groups["prior"] = prior.latents
    groups["prior_predictive"] = {OBSERVATION: prior.full.x}
    marks = reference_marks(scored_by or run, batch, bad, surprise)
    said = {k: v[0] for k, v in judged.items()} | ({AWAY: away} if bool(away.any()) else {})
    marks = marks.assign({k: ("observation", v.cpu().numpy()) for k, v in said.items()})
    return to_inference_data(run, data, groups, ahead.inputs, marks, until=until)


def _refuse_unknown(run: Run, changes: Mapping[str, Change]) -> None:
    unknown = sorted(set(changes) - set(run.model.latent_names))
    if unknown:
        known = ", ".join(run.model.latent_names)
        raise InputError(f"no latent {unknown[0]!r} to intervene on, known: {known}")


def reference_marks(
    run: Run, batch: Batch, bad: Tensor | None = None, surprise: Tensor | None = None
) -> xr.Dataset:
    """Which observations are unlike those that the run knows, where it knows some.

    Those that are ``bad`` (observation,) have no scores, and are marked as ``unusable``.
    ``surprise`` (observation,): where it is known already.
    """
    none = torch.zeros(len(batch), dtype=torch.bool) if bad is None else bad
    marks = xr.Dataset()
    if run.ood_reference is not None:
        some = stood_in(batch, none)
        scores = score_observations(run.ood_reference, run.model, run.guide, some, surprise)
        scores = {k: np.where(none.numpy(), np.nan, v) for k, v in scores.items()}
        marks = mark(scores, run.ood_reference.known())
    if bool(none.any()):
        marks = marks.assign(unusable=("observation", none.numpy()))
    return marks


@dataclass(frozen=True)
class _Asked:
    """What is drawn of the posterior; ``own``: with surprise, as the run itself is to score it."""

    run: Run
    options: PosteriorOptions
    changes: Mapping[str, Change]
    hyper: Mapping[str, Tensor]
    own: bool

    def chunks(self, batch: Batch, ahead: Batch, bad: Tensor, first: int) -> list[Groups]:
        """Groups of all observations, in order; ``bad`` is filled in with those that failed."""
        run, options = self.run, self.options
        if bool(bad.all()):  # no stand-in: nothing is computed of nothing
            raise NothingInferredError
        size = block_size(ahead.x[0].numel(), options)

        def draw(rows: Tensor) -> Groups:
            part = batch[rows]
            largest, later = part.x.abs().max(), ahead[rows]
            found, seed = run.guide.examine(part), int(torch.randint(2**62, ()))
            groups = self._draw(part, found, later, largest)

            def again(some: Tensor, room: float) -> Groups:
                wider = run.guide.roomier(part, found, some, room)
                return self._draw(part[some], wider, later[some], largest)

            make_room(run.guide.rooms, groups, again, seed)
            judged = run.guide.judge(found)
            groups[JUDGED] = {k: v.unsqueeze(0) for k, v in judged.items()} | groups.pop(IMPROVED)
            groups[SURPRISE] = {}
            if self.own:  # while it is at hand: to search again costs as much as all else
                surprise = surprise_of(run.model, run.guide, part, found)
                groups[SURPRISE] = {SURPRISE: surprise.unsqueeze(0)}
            return groups

        def give_up(rows: Tensor) -> None:
            bad[rows] = True

        found = []
        for part in torch.arange(len(batch)).split(size):
            torch.manual_seed(block_seed(options.seed, first + int(part[0])))
            found += each_alone(part, draw, give_up)
        torch.manual_seed(options.seed)
        like = next((chunk for chunk in found if chunk is not None), None)
        if like is None or bool(bad.all()):
            raise NothingInferredError
        shapes = {group: {k: v[:, :1] for k, v in values.items()} for group, values in like.items()}
        whole = [shapes if chunk is None else chunk for chunk in found]
        if not bool(bad.any()):
            return whole
        return [self._with_prior(whole, ahead, bad)]

    def _with_prior(self, chunks: Sequence[Groups], ahead: Batch, bad: Tensor) -> Groups:
        """The groups of all observations, those that are ``bad`` (observation,) from the prior."""
        groups, run, options, hyper = joined(chunks), self.run, self.options, self.hyper
        rows = bad.nonzero().squeeze(-1)
        latents = prior_latents(run.model, len(rows), options.draws, hyper)
        n = min(options.draws, options.predictive_draws)
        few = {k: v[:n] for k, v in (latents | dict(hyper)).items()}
        drawn = predict(run, ahead[rows], ahead[rows], few, self.changes).groups
        drawn["posterior"] = self._changed(latents)
        drawn[WEIGHTS] = {AUXILIARY: few[AUXILIARY].float()} if AUXILIARY in few else {}
        for group, values in groups.items():
            for name, value in values.items():
                unknown = group in UNKNOWN and value.is_floating_point()
                blank = torch.nan if unknown else 0
                value[:, rows] = blank if group in APART else drawn[group][name]
        return groups

    def _draw(self, batch: Batch, found: object, ahead: Batch, largest: Tensor) -> Groups:
        """All groups of one chunk, each array (draw, observation, ...)."""
        run, options, changes = self.run, self.options, self.changes
        n = min(options.draws, options.predictive_draws)
        with pyro.plate("draw", n, dim=-2):
            trace = poutine.trace(run.guide).get_trace(batch, found)
        first = {name: site_value(trace, name) for name in run.model.latent_names}
        log_density = log_prob_of(trace, batch)
        wide = run.model.auxiliary > NARROW
        kept = [name for name in run.model.latent_names if not (wide and name == AUXILIARY)]
        # Before anything is predicted: draws are the same, whatever is.
        more = self._more(batch, found, options.draws - n, kept)
        improved = improve(run, batch, found, first, more, log_density, asked=options.anneal)
        known = first | {k: v[:n] for k, v in self.hyper.items()}
        with fine_enough(run.model, batch, ahead, first, changes):
            prediction = predict(run, batch, ahead, known, changes)
        groups = dict(prediction.groups)
        log_joint = prediction.log_joint
        if log_joint is not None:
            groups["sample_stats"] = {"log_weight": improved.log_weight(log_joint - log_density)}
        weighed = None
        if run.guide.rooms and not run.model.latents.hyper:
            here = log_joint_of(run, batch, first) if log_joint is None else log_joint
            weighed = improved.log_weight(here - log_density)
        drawn, away = decodable({"first": first, **groups}, largest)
        first = drawn.pop("first")
        drawn[AWAY] = {AWAY: away.unsqueeze(0)}
        if weighed is not None:
            drawn[WEIGHED] = {"log_weight": weighed}
        drawn[IMPROVED] = {k: v.unsqueeze(0) for k, v in improved.said().items()}
        latents = {name: torch.cat([first[name], more[name]]) for name in kept}
        if wide:
            drawn[WEIGHTS] = {AUXILIARY: first[AUXILIARY].float()}
        return drawn | {"posterior": self._changed(latents)}

    def _more(
        self, batch: Batch, found: object, draws: int, names: Sequence[str]
    ) -> dict[str, Tensor]:
        """Further draws of the guide, which nobody decodes."""
        with pyro.plate("draw", max(draws, 1), dim=-2):
            trace = poutine.trace(self.run.guide).get_trace(batch, found)
        return {name: site_value(trace, name)[:draws] for name in names}

    def _changed(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Latents after interventions."""
        spec = self.run.model.latents
        changed = {k: spec.wrapped(k, change(latents[k])) for k, change in self.changes.items()}
        for name, values in changed.items():
            spec.refuse_senseless(name, values)
        return {**latents, **changed}
