"""What every guide is: a Pyro program over a model's latents, in unconstrained space."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.guides.encoder import Encoder
from groundvae.guides.phase import Fitting, Phase
from groundvae.guides.population import Population
from groundvae.guides.refinement import Walk
from groundvae.guides.search import Search
from groundvae.guides.workers import Workers
from groundvae.models.greybox import AUXILIARY, GreyBox
from groundvae.models.latent import LatentSpec

UNMIXED = "unmixed"


class Guide(nn.Module):
    """A posterior of a model's latents, as a Pyro program.

    The physics latents are drawn together, unconstrained, and carried onto the supports of
    their priors by bijectors: no draw ever lies outside.

    Attributes:
        OPTIONS: names of the options of the structure, beside its family's.
        offers: what penalties may ask of it: ``"unmixed"``, ``"physics_factor"``.
        reaches: whether it answers beside a residual that reaches further.
        spreads: whether its fit and what it examines go to several workers.
        learns: whether its fit teaches networks, which takes many observations.
        searches: whether it answers at other times than those of its fit as well as at these.
        shares: whether it has ``normals``, from which a value for all observations is agreed on.
        rooms: times its widths, how wide it can be made, one after the other (``roomier``).
        latents: the physics latents.
        auxiliary: dimension of ``z_aux``.

    """

    OPTIONS: ClassVar[tuple[str, ...]] = ()
    offers: ClassVar[frozenset[str]] = frozenset()
    reaches: ClassVar[bool] = False
    spreads: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    searches: ClassVar[bool] = True
    shares: ClassVar[bool] = False
    rooms: ClassVar[tuple[float, ...]] = ()
    workers: Workers | None = None  # in a fit, those who examine
    latents: LatentSpec
    auxiliary: int

    @property
    @abstractmethod
    def encoder(self) -> Encoder:
        """What reads observations."""

    @property
    @abstractmethod
    def population(self) -> Population:
        """The guide of hyperparameters; empty where there are none."""

    @abstractmethod
    def phases(self, fitting: Fitting) -> tuple[Phase, ...]:
        """The parts of a fit of this guide, in their order."""

    @abstractmethod
    def forward(self, batch: Batch, found: object = None) -> None:
        """Sample every latent of a batch; ``found``: what ``examine`` gave, where at hand."""

    def examine(self, batch: Batch) -> object:
        """What is found out of a batch once, however often it is drawn from; here nothing."""
        return None

    def judge(self, found: object) -> dict[str, Tensor]:
        """What ``examine`` says of each observation by name, (observation,); here nothing."""
        return {}

    def roomier(self, batch: Batch, found: object, rows: Tensor, room: float) -> object:
        """What ``examine`` gave, of observations ``rows`` (m,), ``room`` times as wide."""
        raise NotImplementedError

    @property
    def walks(self) -> bool:
        """Whether it has a ``walk``: here not."""
        return False

    def walk(self, batch: Batch, found: object, rows: Tensor) -> Walk:
        """Its posterior of a batch, to be refined; ``rows`` (n,): of what ``examine`` gave."""
        raise NotImplementedError

    def start(self, batch: Batch) -> Search | None:
        """The search of a batch, not begun, that it would draw from; here none."""
        return None

    def normals(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Of normal scores of the physics: means (n, latent) and covariances (n, latent, latent).

        And where they are to be had, (n,) bool.
        """
        raise NotImplementedError

    @abstractmethod
    def sites(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values of this guide's random sites that give ``latents``."""

    @contextmanager
    def computed_by(self, workers: Workers) -> Iterator[None]:
        """In a fit: chunks of observations go to ``workers``, where it ``spreads``."""
        self.workers = workers
        try:
            yield
        finally:
            del self.workers

    def __getstate__(self) -> dict[str, Any]:
        """What a worker gets, who computes by itself."""
        return {name: value for name, value in vars(self).items() if name != "workers"}

    def prepare(self, batch: Batch) -> None:
        """Take the scales of the data from the training batch, before the first step."""
        self.encoder.prepare(batch)
        self.population.prepare(batch)

    def attach(self, model: GreyBox) -> None:
        """Called whenever guide and model are put together; most guides answer without it."""

    def physics_factor(self, batch: Batch) -> dist.TorchDistribution | None:
        """q(z_P | series in which the residual has no part); None where there is no such factor."""
        return None

    def place_physics(self, unconstrained: Tensor) -> None:
        """Carry (..., latent) onto the supports, each latent at a site of its own name."""
        values, log_det = self.latents.constrain(unconstrained)
        for name, log_density in zip(values, (-log_det).unbind(-1), strict=True):
            pyro.sample(name, dist.Delta(values[name], log_density=log_density))

    def log_prob(self, batch: Batch, latents: Mapping[str, Tensor]) -> Tensor:
        """Log q(latents | batch), (observation,), in the latents' own units."""
        with poutine.condition(data=self.sites(latents)):
            trace = poutine.trace(self).get_trace(batch)
        return log_prob_of(trace, batch)

    def place(self, value: Tensor) -> None:
        """Place all latents (..., latent), unconstrained, physics first, each at its own site."""
        self.place_physics(value[..., : len(self.latents)])
        if self.auxiliary:
            z = value[..., len(self.latents) :]
            pyro.sample(AUXILIARY, dist.Delta(z, event_dim=1))

    def flat(self, latents: Mapping[str, Tensor]) -> Tensor:
        """The inverse of ``place``: all latents, unconstrained, (..., latent)."""
        parts = [self.latents.unconstrain(latents)] if len(self.latents) else []
        parts += [latents[AUXILIARY]] if self.auxiliary else []
        return torch.cat(parts, -1)


class ReadingGuide(Guide):
    """A guide with an encoder and a guide of hyperparameters of its own."""

    def __init__(self, encoder: Encoder, spec: LatentSpec, auxiliary: int) -> None:
        super().__init__()
        self.reader = encoder
        self.latents = spec
        self.auxiliary = auxiliary
        self.hyper = Population(spec.hyper)

    @property
    def encoder(self) -> Encoder:
        return self.reader

    @property
    def population(self) -> Population:
        return self.hyper


def log_prob_of(trace: poutine.Trace, batch: Batch) -> Tensor:
    """Sum of a trace's log probabilities, with the observation plate kept: (..., observation).

    Of the sites of the observations alone: hyperparameters belong to none of them.
    """
    terms = [s["log_prob"] for s in _sites(trace) if _inside(s)]
    return sum(terms, torch.zeros(len(batch), dtype=batch.x.dtype, device=batch.x.device))


def shared_log_prob_of(trace: poutine.Trace) -> Tensor:
    """Sum of the log probabilities of hyperparameters, which all observations share."""
    terms = [s["log_prob"] for s in _sites(trace) if not _inside(s)]
    return sum(terms, torch.zeros(()))


def _sites(trace: poutine.Trace) -> list[Any]:
    trace.compute_log_prob()
    return [s for s in trace.nodes.values() if s["type"] == "sample" and "log_prob" in s]


def _inside(site: Any) -> bool:
    frames = site["cond_indep_stack"]
    return any(frame.name == "observation" for frame in frames)
