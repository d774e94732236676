"""The population of latents: what the observations of a fit are drawn from, by empirical Bayes.

The user's priors say what may be; this says what is. Not the histogram of posteriors, which holds
each observation's uncertainty besides, but the distribution whose convolution with it explains all:
a mixture over the physics latents and ``z_aux``, in coordinates in which the priors are standard
normal and angles are angles. Numbers of ``z_aux`` of which observations say little, as of most
weights of an unknown push, have no place in it: they stay what the fit made them, standard normal.
Source: Robbins (1956), An empirical Bayes approach to statistics; Bovy, Hogg & Roweis (2011).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyro
import torch
from pyro import poutine
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensors_as_bytes
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.inference.bad import each_alone, with_stand_ins
from groundvae.inference.deconvolution import FEW, Likelihoods, deconvolve
from groundvae.inference.outofdistribution import mark, score_observations, surprise_of
from groundvae.models.circle import cut_open
from groundvae.models.greybox import AUXILIARY, site_value
from groundvae.models.normalscore import TAIL, NormalScore
from groundvae.models.wrapped import WrappedMixture

if TYPE_CHECKING:
    from groundvae.inference.run import Run

FILE, FACTS = "population.safetensors", "population.json"
OBSERVATIONS = 1000
"""That a population is learned from at most: of fewer, what is made is as far off as they are."""
NUMBERS = 500_000  # that these have together at most, since each may take a search
SEVERAL = 200  # observations that are never too many
FEWEST = 8  # of which there is none
DRAWS, LEAST = 4, 120  # of each posterior, for each place; in all
WIDE, TOLD = 32, 0.3  # numbers of z_aux at most; of their prior's variance, what data take of each
CHUNK = 1000  # observations at once
TINY = 1e-9  # of a prior's variance, the least of a posterior's
MIXTURE = ("weights", "means", "covariances", "periods")
INPUT = "input."


@dataclass(frozen=True)
class Population:
    """What is known of the population of one run.

    Attributes:
        mixture: over the places that ``names`` tells, as ``Places`` lays them out.
        physics: the physics latents, which come first.
        free: the numbers of ``z_aux`` that follow.
        inputs: times, places and inputs of the observations it was learned from.
        own: which of these are one for each observation.
        event: shape of an observation.
        reach: the largest value that was observed.
        learned_from, left_out: how many observations, and how many more were not explained by the
            model (no mode, out of distribution), and so do not count.

    """

    mixture: WrappedMixture
    physics: tuple[str, ...]
    free: tuple[int, ...]
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    event: tuple[int, ...] = ()
    reach: float = math.inf
    learned_from: int = 0
    left_out: int = 0

    def files(self) -> dict[str, bytes]:
        """What a run keeps of it: tensors, and the values that say what they are."""
        tensors = {name: getattr(self.mixture, name) for name in MIXTURE}
        tensors |= {INPUT + name: value for name, value in self.inputs.items()}
        facts = {
            "physics": self.physics,
            "free": self.free,
            "own": sorted(self.own),
            "event": self.event,
            "reach": self.reach,
            "learned_from": self.learned_from,
            "left_out": self.left_out,
        }
        whole = {name: value.contiguous() for name, value in tensors.items()}
        return {FILE: tensors_as_bytes(whole), FACTS: (json.dumps(facts, indent=2) + "\n").encode()}

    @classmethod
    def read(cls, tensors: bytes, facts: bytes) -> Population:
        """The population that ``files`` wrote."""
        found, values = load_tensors(tensors), json.loads(facts)
        return cls(
            WrappedMixture(*(found[name] for name in MIXTURE)),
            tuple(values["physics"]),
            tuple(values["free"]),
            {k.removeprefix(INPUT): v for k, v in found.items() if k.startswith(INPUT)},
            frozenset(values["own"]),
            tuple(values["event"]),
            float(values["reach"]),
            int(values["learned_from"]),
            int(values["left_out"]),
        )


class Places:
    """Latents of a run's model as points (..., place): standard normal under the priors.

    The physics latents come first, as normal scores, or as they are where they are angles; then
    the numbers of ``z_aux`` that are ``free``.
    """

    def __init__(self, run: Run, free: Sequence[int]) -> None:
        self.spec, self.auxiliary = run.model.latents, run.model.auxiliary
        self.free = torch.tensor(free, dtype=torch.long)
        hyper = run.guide.population.centres()
        double = torch.zeros((), dtype=torch.float64)
        priors = {z.name: z.prior_like(double, hyper) for z in self.spec}
        self.priors = priors
        self.scores = {z.name: NormalScore(priors[z.name]) for z in self.spec if not z.circular}
        periods = [z.period if z.circular else math.inf for z in self.spec]
        self.periods = torch.tensor([*periods, *[math.inf] * len(self.free)], dtype=torch.float64)

    def points(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Points (..., place) of latents (...) by name; ``z_aux`` may be missing."""
        columns = []
        for z in self.spec:
            value = latents[z.name].double()
            columns.append(self.score(z.name, value))
        flat = torch.stack(columns, -1) if columns else None
        if AUXILIARY not in latents:
            assert flat is not None
            return flat
        rest = latents[AUXILIARY].double()[..., self.free]
        return rest if flat is None else torch.cat([flat, rest], -1)

    def score(self, name: str, value: Tensor) -> Tensor:
        """Values (...) of one physics latent at its place."""
        if name not in self.scores:
            return value
        return self.scores[name].score(value).clamp(-TAIL, TAIL)

    def latents(self, points: Tensor, auxiliary: Tensor) -> dict[str, Tensor]:
        """The inverse: latents by name; ``auxiliary`` (..., auxiliary) holds what has no place."""
        found = {}
        for z, at in zip(self.spec, points.unbind(-1), strict=False):
            value = self.scores[z.name].value(at) if z.name in self.scores else z.wrapped(at)
            found[z.name] = value.to(auxiliary.dtype)
        if self.auxiliary:
            rest = points[..., len(self.spec) :].to(auxiliary.dtype)
            found[AUXILIARY] = auxiliary.index_copy(-1, self.free, rest)
        return found

    def log_prior(self, points: Tensor) -> Tensor:
        """Log density (...) of points (..., place) under the priors."""
        line = self.periods.isinf()[: points.shape[-1]]
        normal = torch.distributions.Normal(points.new_zeros(()), 1.0)
        total = normal.log_prob(points[..., line]).sum(-1)
        for i, z in enumerate(self.spec):
            if z.circular:
                total = total + self.priors[z.name].log_prob(z.wrapped(points[..., i]))
        return total


def learn_population(run: Run, batch: Batch, seed: int = 0) -> Population | None:
    """The population that ``batch`` is drawn from; None of too few observations, or no latents."""
    most = min(OBSERVATIONS, max(SEVERAL, NUMBERS // max(1, batch.x[:1].numel())))
    if len(batch) > most:
        batch = batch[torch.linspace(0, len(batch) - 1, most).long()]
    size = len(run.model.latents) + run.model.auxiliary
    if not size or len(batch) < FEWEST:
        return None
    draws = max(LEAST, DRAWS * min(size, len(run.model.latents) + WIDE))
    parts = list(draws_of(run, batch, draws, seed))
    if not parts or sum(int(good.sum()) for _, good in parts) < FEWEST:
        return None
    drawn = {k: torch.cat([part[k][:, good] for part, good in parts], 1) for k in parts[0][0]}
    places = Places(run, informed(drawn[AUXILIARY]) if AUXILIARY in drawn else ())
    likelihoods = divided(places, places.points(drawn))
    there = batch.x.abs() if batch.observed is None else batch.x.abs() * batch.observed
    return Population(
        deconvolve(likelihoods[torch.isfinite(likelihoods.pull).all(-1)], seed),
        run.model.latents.names,
        tuple(places.free.tolist()),
        {name: value.cpu() for name, value in batch.inputs.items()},
        batch.own,
        tuple(batch.x.shape[1:]),
        float(there.max()),
        len(likelihoods),
        len(batch) - len(likelihoods),
    )


def informed(auxiliary: Tensor) -> list[int]:
    """Which numbers of draws (draw, n, auxiliary) the data tell most of; of a few, all."""
    told = 1 - auxiliary.var(0).mean(0)
    if len(told) <= WIDE:
        return list(range(len(told)))
    best = told.argsort(descending=True)[:WIDE]
    return sorted(best[told[best] > TOLD].tolist())


@torch.no_grad()
def draws_of(
    run: Run, batch: Batch, draws: int, seed: int = 0
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Of some observations at a time: latents (draw, n, ...), and which (n,) the model explains.

    Those without a posterior are left out.
    """
    whole, empty = with_stand_ins(batch)

    def draw(rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        part = whole[rows]
        with torch.random.fork_rng(), pyro.validation_enabled(False):
            torch.manual_seed(seed + int(rows[0]))
            found = run.guide.examine(part)
            with pyro.plate("draw", draws, dim=-2):
                trace = poutine.trace(run.guide).get_trace(part, found)
            good = _explained(run, part, found) & ~empty[rows]
        return {name: site_value(trace, name) for name in run.model.latent_names}, good

    for rows in torch.arange(len(batch)).split(CHUNK):
        for found in each_alone(rows, draw, lambda _: None):
            if found is not None:
                yield found


def _explained(run: Run, batch: Batch, found: object) -> Tensor:
    """Which observations (n,) have a mode, and are like those that the run was validated on."""
    every = torch.ones(len(batch), dtype=torch.bool)
    explained = run.guide.judge(found).get("mode_found", every)
    if run.ood_reference is None:
        return explained
    surprise = surprise_of(run.model, run.guide, batch, found)
    scores = score_observations(run.ood_reference, run.model, run.guide, batch, surprise)
    marks = mark(scores, run.ood_reference.known())
    return explained & ~torch.as_tensor(marks["out_of_distribution"].values)


def divided(places: Places, points: Tensor) -> Likelihoods:
    """Posteriors divided by the prior, of draws (draw, n, place), as normals."""
    lifted = points.clone()
    stretch = torch.ones_like(points[0])
    for i, period in enumerate(places.periods.tolist()):
        if math.isfinite(period):
            lifted[..., i] = cut_open(points[..., i], period)
            stretch[..., i] = _circle_spread(points[..., i], period) / lifted[..., i].std(0)
    centre = lifted.mean(0)
    off = (lifted - centre) * stretch
    covariance = torch.einsum("snd,sne->nde", off, off) / (len(points) - 1)
    covariance = covariance + TINY * torch.eye(covariance.shape[-1], dtype=covariance.dtype)
    size = covariance.shape[-1]
    fewer = (len(points) - size - 2) / (len(points) - 1)  # of few draws an inverse is too large
    posterior = fewer * torch.linalg.inv(covariance)
    prior = torch.diag(places.periods.isinf().to(posterior))
    # Data cannot tell less than nothing: what a guide has wider than the prior is no information.
    known, axes = torch.linalg.eigh(posterior - prior)
    told = (known > 0).to(known)
    precision = (axes * (known * told).unsqueeze(-2)) @ axes.mT
    pull = (posterior @ centre.unsqueeze(-1)).squeeze(-1)
    pull = ((axes * told.unsqueeze(-2)) @ (axes.mT @ pull.unsqueeze(-1))).squeeze(-1)
    return Likelihoods(precision, pull, centre, places.periods)


def _circle_spread(angles: Tensor, period: float) -> Tensor:
    """Standard deviation (n,) of the wrapped normal that has the draws' (draw, n) concentration."""
    turn = 2 * math.pi / period
    cosine, sine = torch.cos(turn * angles).mean(0), torch.sin(turn * angles).mean(0)
    return torch.sqrt(-2 * torch.log(torch.hypot(cosine, sine).clamp(1e-6, 1 - 1e-12))) / turn


def log_ratio(run: Run, population: Population, latents: Mapping[str, Tensor]) -> Tensor:
    """Log population density over prior density (...) of latents (...), with or without ``z_aux``.

    Without, and of more places than a deconvolution takes, the population is that of the physics
    latents alone: weights of a residual have theirs as their prior.
    """
    if population.physics and len(population.mixture.periods) > FEW:
        latents = {name: latents[name] for name in population.physics}
    places = Places(run, population.free)
    points = places.points(latents)
    mixture = population.mixture.marginal(range(points.shape[-1]))
    return mixture.log_prob(points) - places.log_prior(points)
