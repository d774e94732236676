"""SVI with every observation at its mode: a model learns under the posterior that it has by then.

The places of the modes are kept from step to step. What a residual does to an observation stays
what it was when its scales have moved, in new coordinates of ``z_aux``; a batch's modes are then
moved once, by Levenberg and Marquardt. The ELBO and the penalties are those of draws from the
normals about them, along the model's tangent there. What guides read of observations learns from
other such draws.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.descent import Descent
from groundvae.guides.follow import places_of
from groundvae.guides.loosened import follow_loosely
from groundvae.guides.phase import Fitting, Terms
from groundvae.guides.search import Search
from groundvae.guides.state import State, joined, part
from groundvae.guides.tangent import Tangent
from groundvae.models.residuals.deeponet import DeepONet

if TYPE_CHECKING:
    from groundvae.guides.searching import SearchingGuide

MIDDLE = 1  # the start in the middle of the prior: an answer that has learned nothing is none
ROUNDS = 10  # times, evenly, that what is lost is searched anew, and the noise is refitted
LESS = 0.25  # of its log, by which the noise falls in one of them: modes follow it down
STRAY = 9.0  # times the usual squared residual, beyond which an observation teaches nothing
HOPEFUL = 10.0  # nats that a step promises, above which a point is not near its mode


class AwakeAtModes:
    """The steps of one fit."""

    def __init__(self, fitting: Fitting, guide: SearchingGuide) -> None:
        self.fitting, self.guide = fitting, guide
        options = fitting.options
        self.descent = Descent(
            fitting,
            self._loss,
            [fitting.model, guide],
            steps=options.steps,
            rate=options.learning_rate,
            warmup=options.warmup,
        )
        self.every = max(1, options.steps // ROUNDS)
        self.done = False
        self.raw: list[tuple[slice, DeepONet, Tensor]] = []
        n = len(fitting.train)
        self.search = guide.start(fitting.train, torch.full((n,), MIDDLE))
        self.search.renew()
        follow_loosely(self.search)

    def step(self, number: int) -> dict[str, float]:
        """One step of the networks, of the next batch's modes before it."""
        if number % self.every == 0:
            self._again()
            self._refit_noise()
        record = self.descent.step(number)
        for place, residual, weights in self.raw:
            at = self.search.at[:, place]
            self.search.at[:, place] = residual.auxiliary_of(weights, at)
        return record

    def state(self) -> State:
        """The modes, and how far the descent is."""
        points = {"at": self.search.at, "damping": self.search.damping}
        return joined(points=points, descent=self.descent.state())

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        for name, value in part(state, "points").items():
            setattr(self.search, name, value.to(self.search.at.device, copy=True))
        self.search.renew()
        self.descent.restore(part(state, "descent"))

    def _loss(self, batch: Batch, kl_weight: float) -> Terms:
        rows = self.descent.batches.rows
        near = self._moved(rows)
        self.raw = self._weights()
        guide, fitting = self.guide, self.fitting
        mode, some = guide.mode_of(self.search.pick(rows[near])), batch[near]
        along = replace(fitting, model=Tangent(fitting.model, guide.scores(some.x), mode.at))
        terms = dict(fitting.objective.joint(along, guide, some, kl_weight, mode))
        answer = -guide.first.log_prob(some, guide.drawn(mode, some)).mean()
        return terms | {"answer": answer, "loss": terms["loss"] + answer}

    @torch.no_grad()
    def _weights(self) -> list[tuple[slice, DeepONet, Tensor]]:
        """What residuals do to all observations now: places in ``at``, and weights."""
        return [
            (place, term, term.weights(self.search.at[:, place]))
            for term, place in places_of(self.fitting.model)
            if isinstance(term, DeepONet)
        ]

    @torch.no_grad()
    def _again(self) -> None:
        """Search anew, from the first answer, for what is not near a mode."""
        self.search.renew()
        rows = (~self._near(self.search)).nonzero().squeeze(-1)
        if not len(rows):
            return
        some = self.guide.start(self.fitting.train[rows])
        some.renew()
        follow_loosely(some)
        linear = self.search.pick(rows).linear()
        better = some.alive & (some.linear().evidence > linear.evidence)
        self.search.put(some.pick(better.nonzero().squeeze(-1)), rows[better])

    @torch.no_grad()
    def _refit_noise(self) -> None:
        """Move the noise to that of largest evidence: by gradients it takes as long as all else."""
        search, noise = self.search, self.fitting.model.noise
        search.renew()
        (off, freedom), times = search.left(search.linear()), search.batch.inputs.get("t")
        least = float(noise.scale.detach()) * math.exp(-LESS)
        here, near = noise.given(search.batch), self._near(search)
        here.refit(off, freedom, search.batch.observed, near, times=times)
        noise.sharpen(max(1.0, least / float(noise.scale.detach())))

    @torch.no_grad()
    def _moved(self, rows: Tensor) -> Tensor:
        """Move the modes of ``rows`` (m,) once; the places (few,) of those that teach.

        Those that are not near then, once more.
        """
        some = self.search.pick(rows)
        some.renew()
        some.move()
        far = (~self._near(some)).nonzero().squeeze(-1)
        if len(far):
            again = some.pick(far)
            again.move()
            some.put(again, far)
        self.search.put(some, rows)
        return self._near(some).nonzero().squeeze(-1)

    @staticmethod
    def _near(search: Search) -> Tensor:
        """Which points (n,) are near modes, about as near to the data as others are."""
        linear = search.linear()
        misfit = linear.residual.square().sum(1)
        usual = misfit <= STRAY * misfit[search.alive].median()
        near: Tensor = search.alive & usual & (linear.gain() < HOPEFUL)
        return near
