"""The search for modes: Levenberg-Marquardt in standard normal latents, by exact sensitivities.

Every latent is a normal score or a whitened weight, so the prior is N(0, I) and a step is one of
least squares. One observation that fails never stops the others: it stays where it was, and is
counted. Source: Nocedal & Wright (2006), Numerical optimization, section 10.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import InitVar, dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.workers import HERE, Workers, chunks, in_order, share
from groundvae.models.greybox import GreyBox
from groundvae.models.noises.noise import Linearized, Noise
from groundvae.models.normalscore import NormalScore
from groundvae.models.path import Linearization
from groundvae.models.sensitivity import linearize

FIRST, EASIER, HARDER = 1e-2, 0.2, 6.0  # damping, and how it changes
WORTH = 3_000_000  # numbers of a Jacobian, below which it is made sooner than sent for
FREE = 0.1  # of an observation's samples, that are left to the noise at least
FAR = 8.0  # standard deviations of the prior beyond which no physics latent is searched


@dataclass
class Search:
    """Points of n observations, each with the model near it; moved in place.

    ``at`` (n, latent): normal scores of the physics, then ``z_aux``; ``mean`` (n, *event) and
    ``jacobian`` (n, value, latent) there; ``alive`` (n,): where the model is finite; ``damping``
    (n,); ``widths`` (latent,): standard deviations of the priors for now, where they are not 1. The
    model is asked in chunks, by ``workers``; at first only if it is to be ``asked``: what
    is lifted to a mode needs no answer where it begins.
    """

    POINT: ClassVar[tuple[str, ...]] = ("at", "mean", "jacobian", "alive", "damping")

    model: GreyBox
    scores: Sequence[NormalScore]
    batch: Batch
    at: Tensor
    workers: Workers = HERE
    asked: InitVar[bool] = True
    widths: Tensor | None = None

    def __post_init__(self, asked: bool) -> None:
        self.damping = torch.full_like(self.at[:, 0], FIRST)
        if asked:
            self.renew()
        else:
            self.take(Linearization.blank(self.at, self.batch.x))

    @torch.no_grad()
    def renew(self) -> None:
        """Ask the model again where it is: after its population has changed."""
        if self.at.numel() * self.batch.x[:1].numel() < WORTH:
            self.take(linearize(self.model, self.scores, self.at, self.batch))
            return
        every = torch.arange(len(self.at)).split(share(len(self.at), self.workers))
        tasks = [([score[i] for score in self.scores], self.at[i], self.batch[i]) for i in every]
        self.take(Linearization.join(in_order(self.workers, partial(_near, self.model), tasks)))

    def take(self, found: Linearization) -> None:
        """The model near the points, as it was ``found``."""
        finite = torch.isfinite(found.mean).flatten(1).all(1)
        self.alive = finite & torch.isfinite(found.jacobian).flatten(1).all(1)
        self.mean = _kept(found.mean, self.alive)
        self.jacobian = _kept(found.jacobian, self.alive)

    @torch.no_grad()
    def linear(self, widened: float = 1.0) -> LinearGaussian:
        """The linear-Gaussian posterior at the points; physics priors ``widened`` by a factor."""
        noise = self._linear_noise()
        widths = self._widths.clone()
        for i, latent in enumerate(self.model.latents):
            widths[i] = 1.0 if latent.shared else widened  # what all agree on is known
        return LinearGaussian(noise.whiten(self.jacobian), noise.residual, self.at, widths)

    @torch.no_grad()
    def move(self, linear: LinearGaussian | None = None) -> None:
        """One step of each observation, kept where it is uphill; from ``linear`` where at hand."""
        here = self.linear() if linear is None else linear
        trial = copy(self)
        trial.at = self.held(self.at + here.step(self.damped(here)).to(self.at))
        trial.renew()
        better = trial.alive & (trial._value() > self._value())
        better |= trial.alive & ~self.alive
        trial.damping = EASIER * self.damping
        self.damping = HARDER * self.damping
        self._take(trial, better)
        self.damping = self.damping.clamp(1e-8, 1e8)

    def damped(self, linear: LinearGaussian) -> Tensor:
        """The damping (n, 1) or (n, latent), in units of the prior's precision."""
        return self.damping.unsqueeze(-1)

    def held(self, wanted: Tensor) -> Tensor:
        """Points (n, latent), where the search may go: what moves nothing stays."""
        wanted, count = torch.where(self.jacobian.any(1), wanted, self.at), len(self.scores)
        return torch.cat([wanted[:, :count].clamp(-FAR, FAR), wanted[:, count:]], -1)

    def evidence(self, linear: LinearGaussian) -> Tensor:
        """Laplace's approximation of log p(x) (n,), nats, from ``linear`` at the points.

        What is left to the mode counts as far as ``linear`` knows the way.
        """
        return self._value() + linear.gain() - 0.5 * linear.log_det

    def left(self, linear: LinearGaussian) -> tuple[Tensor, Tensor]:
        """What is left to the noise at the means of ``linear`` (n, *event), its freedom (n,)."""
        moved = (self.jacobian @ (linear.mean - self.at).unsqueeze(-1)).view(self.mean.shape)
        samples = self.batch.samples
        freedom = torch.maximum(samples - linear.told.sum(1), FREE * samples)
        return self.batch.x - self.mean - moved, freedom

    def _value(self) -> Tensor:
        """Log joint (n,)."""
        likelihood = self._noise.log_prob(
            self.batch.x, self.mean, self.batch.observed, times=self.batch.inputs.get("t")
        )
        return likelihood + self.log_prior()

    def log_prior(self) -> Tensor:
        """Log density (n,) of the points, without constants."""
        return -0.5 * ((self.at / self._widths) ** 2).sum(1)

    @property
    def _widths(self) -> Tensor:
        """Standard deviations of the priors (latent,)."""
        return torch.ones_like(self.at[0]) if self.widths is None else self.widths

    @property
    def _noise(self) -> Noise:
        return self.model.noise.given(self.batch)

    def _linear_noise(self) -> Linearized:
        """What the noise makes of what is left of the data."""
        times = self.batch.inputs.get("t")
        return self._noise.linearize(self.batch.x, self.mean, self.batch.observed, times=times)

    def _take(self, other: Search, better: Tensor) -> None:
        """The points of another search where they are ``better`` (n,) bool."""
        for name in self.POINT:
            mine, others = getattr(self, name), getattr(other, name)
            rows = better.view(-1, *[1] * (mine.dim() - 1))
            setattr(self, name, torch.where(rows, others, mine))

    def pick(self, rows: Tensor) -> Search:
        """A search of some observations (m,) alone, from where they are."""
        some = copy(self)
        some.batch, some.scores = self.batch[rows], [score[rows] for score in self.scores]
        for name in self.POINT:
            setattr(some, name, getattr(self, name)[rows].clone())
        return some

    def spread(self, work: Callable[[Search], Search]) -> None:
        """Put in place what ``work`` makes of chunks of the observations, by ``workers``."""
        every = chunks(len(self.at))
        some = [self.pick(rows) for rows in every]
        for each in some:
            each.workers = HERE
        for rows, done in zip(every, in_order(self.workers, work, some), strict=True):
            self.put(done, rows.to(self.at.device))

    def put(self, some: Search, rows: Tensor) -> None:
        """Put the points of ``some`` observations in their places, ``rows`` (m,)."""
        pairs = zip(self.scores, some.scores, strict=True)
        self.scores = [score.put(rows, other) for score, other in pairs]
        for name in self.POINT:
            getattr(self, name)[rows] = getattr(some, name)


def _near(model: GreyBox, asked: tuple[Sequence[NormalScore], Tensor, Batch]) -> Linearization:
    return linearize(model, *asked)


def _kept(value: Tensor, alive: Tensor) -> Tensor:
    """Zero where a model has left the finite numbers."""
    if alive.all():
        return value
    return torch.where(alive.view(-1, *[1] * (value.dim() - 1)), value, torch.zeros_like(value))


def starts(count: int, physics: int, latents: int, like: Tensor) -> Tensor:
    """Points (count, latent) to search from: the middle of the prior, then some spread in it.

    Halton's points as normal scores; ``z_aux`` begins at zero. In the precision of ``like``.
    """
    if not physics:
        return like.new_zeros(count, latents)
    from scipy.stats import norm, qmc

    shares = qmc.Halton(physics, scramble=False).random(count + 1)[1:]
    physics_scores = torch.as_tensor(1.2 * norm.ppf(shares)).to(like)
    return torch.cat([physics_scores, like.new_zeros(count, latents - physics)], -1)
