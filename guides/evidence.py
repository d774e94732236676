"""Evidence: the population of an unknown residual, and the noise, of largest marginal likelihood.

Laplace's approximation of log p(x), summed over observations, is made large by fixed points of its
gradient: a variance becomes ``sum mean^2 / sum told`` of its whitened weights, the noise
``sum error^2 / sum freedom``. What the data do not ask for goes to zero by itself: Occam's factor
does what a penalty's weight would be for. In between, each observation's mode takes a step.
Sources: MacKay (1992), Bayesian interpolation; Tipping (2001), Sparse Bayesian learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from operator import itemgetter

import torch
from torch import Tensor

from groundvae.guides.admission import NOISE, admit_states, begin, imitation, trim
from groundvae.guides.follow import Part, carry, parts_of
from groundvae.guides.functions import move_functions, place_functions
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.lifted import approached
from groundvae.guides.phase import Fitting
from groundvae.guides.search import Search
from groundvae.guides.spread import either_way
from groundvae.guides.state import State

RESTARTS = (10, 20, 35)  # rounds at which failed searches begin anew
MOVES = 6  # of these, before they are judged
FLAT = 30.0  # times their width, physics priors say nothing of a population
INNER = 3  # fixed points at each linearization
NOISES, TRIED = (NOISE, 0.01), 3  # of the data's spread, where the noise begins; rounds from each
QUIET = 1e-4  # of the data's spread, the least noise: a push may follow samples to the last digit
STATES_FROM, OWN_FROM = 4, 3  # rounds after which features of states, and own scales, come in
PLACE_FROM, PLACE_EACH, PLACE_TO = 8, 6, 30  # rounds in which functions of states are learned
MANY = 50  # observations, from which on any is left out: of a dozen nobody knows what is not there
TRIM_FROM = 10  # round from which on functions are left out that the data do not ask for,
STEADY, MOST = 0.5, 0.97  # where three rounds change so little, and so many are followed
SETTLED, LEAST = 0.02, 35  # nats an observation in three rounds that are none; rounds before
STRAY = 9.0  # times the usual mean square, beyond which an observation does not set the noise
PUSHED = 4.0  # standard deviations of its own scale, beyond which it does not set the population
JUMP = 3.0  # most that the noise scale may change at once


class EvidenceRounds:
    """The rounds of one fit.

    Args:
        fitting: the fit.
        search: the observations, not searched yet.
        rounds: how many at most.
        before: how many others of the same population there were; without any it begins anew.

    """

    def __init__(self, fitting: Fitting, search: Search, rounds: int, before: int = 0) -> None:
        self.rounds, self.before = rounds, before
        self.model, self.search = fitting.model, search
        self.history: list[float] = []
        self.done = self.moving = False
        if before:
            for part in self.parts:
                part.residual.settle(known=False)
            self.search.spread(partial(approached, own=True))
        else:
            self._begin()

    def _begin(self) -> None:
        """From the better of a few noises: what a push does may be taken for noise, and stay so."""
        starts = []
        for noise in NOISES:
            begin(self.search, self.parts, noise)
            self.search.spread(approached)
            for number in range(1, TRIED + 1):
                told = self.step(number)
            followed = told["failed"] < len(self.search.at)
            evidence = told["evidence"] if followed else -torch.inf
            every = torch.arange(len(self.search.at), device=self.search.at.device)
            learned = deepcopy(self.model.state_dict())
            starts.append((evidence, learned, self.search.pick(every)))
        _, learned, self.search = max(starts, key=itemgetter(0))
        self.model.load_state_dict(learned)
        self.history = []
        for part in self.parts:  # of fits of fewer rounds than were tried
            part.residual.settle(known=False)

    @property
    def parts(self) -> list[Part]:
        """The residuals that are fitted; fewer weights once some are left out."""
        return parts_of(self.model)

    @torch.no_grad()
    def step(self, number: int) -> dict[str, float]:
        """One round: the population's fixed points, then a step of every mode."""
        if not self.before and number == STATES_FROM + 1:
            admit_states(self.search, self.parts)
        if number in RESTARTS:
            self._restart()
        usual, linear = self._refitted(own=self.before + number > OWN_FROM)
        sure = number >= TRIM_FROM and len(usual) >= MANY and self._steady(STEADY)
        if sure and usual.double().mean() > MOST:
            trim(self.search, self.parts, linear, usual)
        if not self.before:
            self._learn(number, usual)
        linear = self.search.linear()
        total = float(self.search.evidence(linear)[usual].sum())
        self.history.append(total)
        self.search.move(linear=linear)
        n = len(self.search.at)
        self.done = number > LEAST and self._steady(SETTLED)
        if self.done or number == self.rounds:
            for part in self.parts:
                part.residual.settle()
        return {
            "evidence": total / max(int(usual.sum()), 1),
            "noise": float(self.model.noise.scale.mean()),
            "failed": float(n - int(usual.sum())),
        }

    def _refitted(self, *, own: bool) -> tuple[Tensor, LinearGaussian]:
        """The population at its fixed points; which observations count, and the last posterior."""
        for inner in range(INNER):
            linear = self.search.linear(FLAT)
            usual = _usual(self.search, linear, self.parts)
            self._refit_noise(linear, usual)
            for i, part in enumerate(self.parts):
                if i:  # two at once would both take what either may explain
                    linear = self.search.linear(FLAT)
                refit = partial(self._refit, part, linear, usual, own=own, fresh=inner == 0)
                carry(self.search, self.parts, refit)
        return usual, linear

    def _learn(self, number: int, usual: Tensor) -> None:
        """Place functions of the states, and move them for as long as the evidence rises."""
        asked = PLACE_FROM <= number <= PLACE_TO and (number - PLACE_FROM) % PLACE_EACH == 0
        if asked and place_functions(self.search, self.parts, usual, FLAT):
            admit_states(self.search, self.parts)
            self.moving = True
        if self.moving:
            self.moving = move_functions(self.search, self.parts, usual, FLAT)

    def state(self) -> State:
        """The points of the search, which no other search would find to the last bit."""
        points = {name: getattr(self.search, name) for name in self.search.POINT}
        evidence = torch.tensor(self.history, dtype=torch.double)
        flags = {"done": torch.tensor(self.done), "moving": torch.tensor(self.moving)}
        return points | {"evidence": evidence} | flags

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        for name in self.search.POINT:
            setattr(self.search, name, state[name].to(self.search.at.device, copy=True))
        self.history, self.done = state["evidence"].tolist(), bool(state["done"])
        self.moving = bool(state["moving"])

    def _steady(self, change: float) -> bool:
        """Whether the last three rounds changed the evidence by less, nats an observation."""
        recent = self.history[-4:]
        moved = abs(recent[-1] - recent[0]) if len(recent) == 4 else float("inf")
        return moved < change * len(self.search.at)

    def _restart(self) -> None:
        """Search anew for the observations that are far off, and keep what is better."""
        linear = self.search.linear()
        rows = (~_usual(self.search, linear, self.parts)).nonzero().squeeze(-1)
        if not len(rows):
            return
        at = torch.zeros_like(self.search.at[rows])
        scores = [score[rows] for score in self.search.scores]
        batch, workers = self.search.batch[rows], self.search.workers
        again = Search(self.model, scores, batch, at, workers, asked=False)
        again.spread(approached)
        for _ in range(MOVES):
            again.move()
        better = again.alive & (again.linear().evidence > linear.evidence[rows])
        self.search.put(again.pick(better.nonzero().squeeze(-1)), rows[better])

    def _refit(
        self, part: Part, linear: LinearGaussian, usual: Tensor, *, own: bool, fresh: bool
    ) -> list[Tensor]:
        """A new population of one part; the observations' own variances (n,) of each."""
        columns = torch.arange(part.weights.start, part.weights.stop)
        imitated = imitation(linear, columns, len(self.model.latents)) if fresh else None
        statistics = part.statistics(self.search, linear, usual, imitated)
        found = part.residual.refit(statistics, own=own)
        return [
            found if each == part else each.residual.own(self.search.at[:, each.auxiliary])
            for each in self.parts
        ]

    def _refit_noise(self, linear: LinearGaussian, usual: Tensor) -> None:
        search, noise = self.search, self.model.noise.given(self.search.batch)
        off, freedom = search.left(linear)
        before, times = float(noise.scale.mean()), search.batch.inputs.get("t")
        observed = search.batch.observed
        if noise.knows_neighbours:
            off = either_way(off, search.jacobian, linear)
            freedom, usual = search.batch.samples.repeat(2), usual.repeat(2)
            observed = None if observed is None else torch.cat([observed, observed])
            times = torch.cat([times, times]) if times is not None and times.dim() > 1 else times
        noise.refit(off, freedom, observed, usual, times=times)
        ratio = float(noise.scale.mean()) / before
        least = QUIET * float(search.batch.x.std()) / before
        held = min(max(ratio, 1 / JUMP, least), JUMP)
        if held != ratio:
            noise.sharpen(held / ratio)


def _usual(search: Search, linear: LinearGaussian, parts: Sequence[Part]) -> Tensor:
    """The observations that are fitted about as well as others, and pushed about as hard.

    A failed search sets no noise; nor does it bring in a push that no other observation has: where
    it has stopped, a push that is strong enough takes the place of the right latents.
    """
    size = (linear.residual**2).sum(1) / (search.batch.samples - linear.told.sum(1)).clamp(min=1)
    usual = search.alive & (size <= STRAY * size[search.alive].median())
    for part in parts:
        usual &= search.at[:, part.first] <= PUSHED
    return usual
