"""Evidence: the population of an unknown residual, and the noise, of largest marginal likelihood.

Laplace's approximation of log p(x), summed over observations, is made large by fixed points of its
gradient: a variance becomes ``sum mean^2 / sum told`` of its whitened weights, the noise
``sum error^2 / sum freedom``. What the data do not ask for goes to zero by itself: Occam's factor
does what a penalty's weight would be for. In between, each observation's mode takes a step.
Sources: MacKay (1992), Bayesian interpolation; Tipping (2001), Sparse Bayesian learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from groundvae.guides.follow import Part, carry, follow, parts_of
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.phase import Fitting
from groundvae.guides.search import POINT, Search
from groundvae.guides.state import State
from groundvae.models.dynamics import Dynamics
from groundvae.models.residuals.population import PopulationResidual

RESTARTS = (10, 20, 35)  # rounds at which failed searches begin anew
MOVES = 6  # of these, before they are judged
INNER = 3  # fixed points at each linearization
NOISE = 0.1  # of the data's spread, where the noise begins
STATES_FROM, OWN_FROM = 4, 3  # rounds after which features of states, and own scales, come in
SETTLED, LEAST = 0.02, 10  # nats an observation in three rounds that are none; rounds before
STRAY = 9.0  # times the usual mean square, beyond which an observation does not set the noise
FREE = 0.1  # of an observation's samples, that are left to the noise at least
JUMP = 3.0  # most that the noise scale may change at once


class EvidenceRounds:
    """The rounds of one fit."""

    def __init__(self, fitting: Fitting, search: Search) -> None:
        self.model, self.search = fitting.model, search
        self.parts = parts_of(fitting.model)
        self.history: list[float] = []
        self.done = False
        begin(self.search, self.parts)
        follow(self.search, self.parts)

    @torch.no_grad()
    def step(self, number: int) -> dict[str, float]:
        """One round: the population's fixed points, then a step of every mode."""
        if number == STATES_FROM + 1:
            admit_states(self.search, self.parts)
        if number in RESTARTS:
            self._restart()
        usual = torch.ones(len(self.search.at), dtype=torch.bool)
        for inner in range(INNER):
            linear = self.search.linear()
            usual = _usual(self.search, linear)
            own, fresh = number > OWN_FROM, inner == 0
            refit = partial(self._refit, linear, usual, own=own, fresh=fresh)
            carry(self.search, self.parts, refit)
        linear = self.search.linear()
        total = float((linear.evidence + self._noise_constants())[usual].sum())
        self.history.append(total)
        self.search.move(linear=linear)
        n = len(self.search.at)
        recent = self.history[-4:]
        settled = len(recent) == 4 and abs(recent[-1] - recent[0]) < SETTLED * n
        self.done = number > LEAST and settled
        return {
            "evidence": total / max(int(usual.sum()), 1),
            "noise": float(self.model.noise.scale.mean()),
            "failed": float(n - int(usual.sum())),
        }

    def state(self) -> State:
        """The points of the search, which no other search would find to the last bit."""
        points = {name: getattr(self.search, name) for name in (*POINT, "damping")}
        kept = {name: value for name, value in points.items() if value is not None}
        return kept | {"evidence": torch.tensor(self.history, dtype=torch.double)}

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        for name in (*POINT, "damping"):
            setattr(self.search, name, state.get(name))
        self.history = state["evidence"].tolist()

    def _restart(self) -> None:
        """Search anew for the observations that are far off, and keep what is better."""
        linear = self.search.linear()
        rows = (~_usual(self.search, linear)).nonzero().squeeze(-1)
        if not len(rows):
            return
        at = torch.zeros_like(self.search.at[rows])
        again = Search(self.model, self.search.scores, self.search.batch[rows], at)
        follow(again, self.parts)
        for _ in range(MOVES):
            again.move()
        better = again.alive & (again.linear().evidence > linear.evidence[rows])
        self.search.put(again.pick(better.nonzero().squeeze(-1)), rows[better])

    def _noise_constants(self) -> Tensor:
        """What a likelihood has beside the squared residual (n,), nats."""
        batch, search = self.search.batch, self.search
        times = batch.inputs.get("t")
        density = self.model.noise.log_prob(batch.x, search.mean, batch.observed, times=times)
        residual = self.model.noise.linearize(
            batch.x, search.mean, batch.observed, times=times
        ).residual
        return density + 0.5 * (residual**2).sum(1)

    def _refit(
        self, linear: LinearGaussian, usual: Tensor, *, own: bool, fresh: bool
    ) -> list[Tensor]:
        """New population and noise; the observations' own variances (n,) of each part."""
        owns = []
        for part in self.parts:
            columns = torch.arange(part.weights.start, part.weights.stop)
            imitated = imitation(linear, columns, len(self.model.latents)) if fresh else None
            statistics = part.statistics(self.search, linear, usual, imitated)
            owns.append(part.residual.refit(statistics, own=own))
        self._refit_noise(linear, usual)
        return owns

    def _refit_noise(self, linear: LinearGaussian, usual: Tensor) -> None:
        search, noise = self.search, self.model.noise
        moved = (search.jacobian @ (linear.mean - search.at).unsqueeze(-1)).view(search.mean.shape)
        off = search.batch.x - search.mean - moved
        samples = search.batch.samples
        freedom = torch.maximum(samples - linear.told.sum(1), FREE * samples)
        before = float(noise.scale.mean())
        noise.refit(off, freedom, search.batch.observed, usual, times=search.batch.inputs.get("t"))
        ratio = float(noise.scale.mean()) / before
        if not 1 / JUMP <= ratio <= JUMP:
            noise.sharpen(min(max(ratio, 1 / JUMP), JUMP) / ratio)


@torch.no_grad()
def begin(search: Search, parts: Sequence[Part]) -> None:
    """Noise a tenth of the data's spread, pushes of that size in what is observed, no states."""
    spread = float(search.batch.x.std())
    noise = search.model.noise
    noise.sharpen(NOISE * spread / float(noise.scale.mean()))
    for part in parts:
        part.residual.blank()
    search.renew()
    for part in parts:
        part.residual.begin(effects(search, part), spread)
    search.renew()


def admit_states(search: Search, parts: Sequence[Part]) -> None:
    """Let features of the states in, on the scale of the states that the modes have by now."""
    for part in parts:
        kept = search.at[:, part.auxiliary].clone()
        raw, own = part.residual.weights(kept), part.residual.own(kept)
        scales, rates = _sizes(search, part.residual)
        part.residual.admit(scales, rates)
        search.at[:, part.auxiliary] = part.residual.whitened(raw, own)
        search.renew()
        part.residual.enter(effects(search, part), float(search.batch.x.std()))
        search.at[:, part.auxiliary] = part.residual.whitened(raw, own)
    search.renew()


def _sizes(search: Search, residual: PopulationResidual) -> tuple[Tensor, Tensor]:
    """Usual sizes of the states that a residual sees, and of how fast those it acts on change."""
    system, states = search.model.system, search.states
    assert isinstance(system, Dynamics)
    assert states is not None
    named = system.named(states[search.alive])
    gap = torch.diff(search.batch.inputs["t"]).view(1, -1, *[1] * system.on_grid)
    sizes = [_usual_size(named[k]) for k in residual.sees]
    rates = [_usual_size(torch.diff(named[k], dim=1) / gap) for k in residual.acts_on]
    return torch.stack(sizes), torch.stack(rates)


def _usual_size(values: Tensor) -> Tensor:
    """The root mean square of the middle one of n series or fields."""
    return values.square().flatten(1).mean(1).median().sqrt().clamp(min=1e-6)


def effects(search: Search, part: Part) -> Tensor:
    """What a weight of one standard deviation does to what is observed, rms, (weight,)."""
    columns = search.jacobian[search.alive][..., part.weights]
    return columns.square().mean(1).median(0).values.sqrt()


def imitation(linear: LinearGaussian, columns: Tensor, physics: int) -> Tensor:
    """How much of what each weight does the physics latents could do, (weight,), within 0 .. 1.

    The share of its information that is lost when the physics latents are to be inferred too,
    given all else that is unknown.
    """
    everything = torch.cat([torch.arange(physics), columns])
    told = linear.information(everything)
    unit = torch.eye(physics, dtype=told.dtype)
    # Without the physics' own prior variance in C: S = A_p^T C_0^-1 A_p, from that with it.
    top = told[:, :physics, :physics]
    inverse = torch.linalg.inv(unit - top)
    own = inverse @ top  # S
    cross = inverse @ told[:, :physics, physics:]  # A_p^T C_0^-1 A_w
    posterior = torch.linalg.inv(unit + own)
    lost = (cross * (posterior @ cross)).sum(1)
    kept = told[:, physics:, physics:].diagonal(dim1=1, dim2=2)
    return lost.sum(0) / (lost + kept).sum(0).clamp(min=1e-300)


def _usual(search: Search, linear: LinearGaussian) -> Tensor:
    """The observations that are fitted about as well as others: a failed search sets no noise."""
    size = (linear.residual**2).sum(1) / (search.batch.samples - linear.told.sum(1)).clamp(min=1)
    return search.alive & (size <= STRAY * size[search.alive].median())
