"""The guide of modes: an observation's posterior is a normal about the mode that a search finds.

No network: a push held loosely follows the data, is tightened to its prior, and
Levenberg-Marquardt does the rest (``follow.py``, ``search.py``). All in standard normal latents,
so what is approximated is the likelihood alone. Fitted by evidence (``evidence.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Transform

from groundvae.data.batch import Batch
from groundvae.guides.ascent import ascend
from groundvae.guides.circle import ScoresOntoCircles
from groundvae.guides.densenormal import DenseNormal
from groundvae.guides.encoder import Encoder
from groundvae.guides.evidence import EvidenceRounds
from groundvae.guides.follow import parts_of
from groundvae.guides.guide import ReadingGuide
from groundvae.guides.lifted import liftable
from groundvae.guides.mode import Mode, about, pushing, reached
from groundvae.guides.modewalk import ModeWalk
from groundvae.guides.ownshear import OwnShear
from groundvae.guides.phase import Fitting, Phase
from groundvae.guides.pushposterior import PushPosterior
from groundvae.guides.refinement import WIDENED, Walk
from groundvae.guides.search import Search, starts
from groundvae.guides.workers import HERE, chunks, in_order
from groundvae.models.greybox import AUXILIARY, GreyBox
from groundvae.models.latent import LatentSpec
from groundvae.models.normalscore import CircleScore, NormalScore

MODE = "mode_standard"
TAKEN = "information_taken"
SERIES, MORE = 250, 1000  # observations that a population is learned from; means and noise, at last
LATE = 5  # rounds of these
LEARNED = 10_000_000  # numbers of their Jacobians at most: a field tells more than a series
HELD, MOST = 10_000_000, 1000  # numbers of a Jacobian held at once; observations searched at once
WAVES = ((1, 2), (3, 4, 5, 6, 7))  # of further starts, each for what is not found by then
ROOM = 1.15  # times its widths given the push, what is left to all that is not the push: curved as
# a model is there, a normal that is just as wide has too short tails to be weighted (k-hat)
ROOMS = (1.3, 1.5)  # of observations for which that is not enough
LITTLE = 0.01  # nats by which another mode has to be better


class ModeGuide(ReadingGuide):
    """A normal about each observation's mode, in standard normal latents."""

    reaches = spreads = shares = True
    learns = False
    rooms = ROOMS

    def __init__(self, encoder: Encoder, spec: LatentSpec, auxiliary: int) -> None:
        super().__init__(encoder, spec, auxiliary)
        self.circular = [i for i, latent in enumerate(spec) if latent.circular]

    def attach(self, model: GreyBox) -> None:
        self._model = (model,)  # in a tuple: the model's parameters are not the guide's own
        self.auxiliary = model.auxiliary  # while it is fitted, the model may leave weights out

    def phases(self, fitting: Fitting) -> tuple[Phase, ...]:
        """Rounds of evidence on some observations; then, where there are many more, a few on these.

        Scales are known from some. Means are what all observations have in common: they are as
        uncertain as the root of the number says, and so is how far all latents are off alike.
        """
        steps = fitting.options.steps
        some, more = (self._most(fitting, count) for count in (SERIES, MORE))
        first = Phase("evidence", steps, self, partial(self._begin, some, steps, before=0))
        if more <= some:
            return (first,)
        return first, Phase("more", LATE, self, partial(self._begin, more, LATE, before=steps))

    def _most(self, fitting: Fitting, count: int) -> int:
        """Of so many observations those that can be held at once."""
        held = max(1, LEARNED // self._numbers(fitting.train))
        return min(count, held, len(fitting.train))

    def _begin(self, most: int, rounds: int, fitting: Fitting, *, before: int) -> EvidenceRounds:
        order = torch.randperm(len(fitting.train))[:most]
        if not before:
            for part in parts_of(self._model[0]):
                part.residual.blank()
        search = self.start(fitting.train[order.sort().values])
        return EvidenceRounds(fitting, search, rounds, before)

    def start(self, batch: Batch, places: Tensor | None = None) -> Search:
        """A search not begun: in the middle of the prior, or at ``places`` (n,) of its starts."""
        count = len(self.latents)
        if places is None:
            places = torch.zeros(len(batch), dtype=torch.long)
        size = count + self._model[0].auxiliary
        at = starts(1 + WAVES[-1][-1], count, size, batch.x)[places]
        heading = self._heading(batch, places, at)
        at[:, self.circular] = 0.0
        scores, workers = self.scores(batch.x, heading), self.workers or HERE
        return Search(self._model[0], scores, batch, at, workers, asked=False)

    def _heading(self, batch: Batch, places: Tensor, at: Tensor) -> Tensor:
        """Angles (n, circle) where a search begins, opposite to which their circles are cut.

        The axis that the encoder sees, if it sees one and there is but one circle, where the
        search would begin in the middle of the prior; else those of points ``at`` of the prior.
        """
        hyper, headings = self.population.centres(), []
        for i in self.circular:
            latent = tuple(self.latents)[i]
            headings.append(NormalScore(latent.prior_like(batch.x, hyper)).value(at[:, i]))
            if self.encoder.axis is not None and len(self.circular) == 1 and latent.period:
                features = self.encoder.describe(self.encoder.read(batch))
                cos, sin = (features[:, place] for place in self.encoder.axis)
                seen = latent.wrapped(torch.atan2(sin, cos) * latent.period / (2 * math.pi))
                headings[-1] = torch.where(places == 0, seen, headings[-1])
        return torch.stack(headings, -1) if headings else at[:, :0]

    def scores(self, like: Tensor, heading: Tensor | None = None) -> list[NormalScore]:
        """Normal scores of the physics latents under their priors, in the precision of ``like``.

        Those of angles on lines that are cut opposite to ``heading`` (n, circle), where given.
        """
        hyper = self.population.centres()
        scores = [NormalScore(z.prior_like(like, hyper)) for z in self.latents]
        if heading is not None:
            for i, angle in zip(self.circular, heading.unbind(-1), strict=True):
                scores[i] = CircleScore(scores[i].prior, angle)
        return scores

    def examine(self, batch: Batch) -> Mode:
        """The modes."""
        return self.mode(batch)

    def judge(self, found: object) -> dict[str, Tensor]:
        assert isinstance(found, Mode)
        shares = zip(self.latents.names, found.taken.unbind(-1), strict=True)
        return {
            "log_evidence": found.evidence,
            "mode_found": found.found,
            **{f"{TAKEN}_{name}": share for name, share in shares},
        }

    def forward(self, batch: Batch, found: object = None) -> None:
        self.population()
        mode = self.examine(batch) if found is None else found
        assert isinstance(mode, Mode)
        with pyro.plate("observation", len(batch), dim=-1):
            value = pyro.sample(MODE, self.posterior(mode), infer={"is_auxiliary": True})
            self._place(value, self.scores(batch.x))

    def posterior(self, mode: Mode) -> dist.TorchDistribution:
        """q(z | x) over all latents, standard normal ones but for angles, physics first."""
        line = self._line(mode)
        if not self.circular:
            return line
        scores = self.scores(mode.centre, mode.heading)
        circles = {i: scores[i] for i in self.circular}
        return dist.TransformedDistribution(line, [ScoresOntoCircles(circles)])

    def _line(self, mode: Mode) -> dist.TorchDistribution:
        """The same, of angles their scores on the lines that they were searched on."""
        if mode.own is not None:
            return PushPosterior(mode.own, pushing(parts_of(self._model[0]))[0])
        base = DenseNormal(mode.centre, scale_tril=mode.factor, validate_args=False)
        shears: list[Transform] = [
            OwnShear(mode.centre[..., p.first], p.first, p.push, p.residual.own_spread.detach())
            for p in pushing(parts_of(self._model[0]))
        ]
        return dist.TransformedDistribution(base, shears) if shears else base

    @property
    def walks(self) -> bool:
        """Where several residuals push, their scales are taken as normal, and it has none."""
        return len(pushing(parts_of(self._model[0]))) <= 1

    def roomier(self, batch: Batch, found: object, rows: Tensor, room: float) -> Mode:
        parts = parts_of(self._model[0])
        alone = len(pushing(parts)) == 1  # all else has room beside a push
        return about(self._found(batch[rows], found, rows), parts, 1.0 if alone else room, room)

    def _found(self, batch: Batch, found: object, rows: Tensor) -> Search:
        """A search of some of the observations, ``rows`` (m,), at what was found of them."""
        assert isinstance(found, Mode)
        scores = self.scores(batch.x, found.heading[rows])
        return Search(self._model[0], scores, batch, found.at[rows])

    def walk(self, batch: Batch, found: object, rows: Tensor) -> Walk:
        search = self._found(batch, found, rows)
        wide = self._line(about(search, parts_of(self._model[0]), WIDENED))
        assert isinstance(wide, (PushPosterior, DenseNormal))
        return ModeWalk(wide, self.latents.names, search.scores)

    def _place(self, value: Tensor, scores: Sequence[NormalScore]) -> None:
        """Each latent at its own site."""
        for latent, score, u in zip(self.latents, scores, value.unbind(-1), strict=False):
            at = latent.wrapped(u) if latent.circular else score.value(u)
            density = torch.zeros_like(at) if latent.circular else -score.log_slope(u, at)
            pyro.sample(latent.name, dist.Delta(at, log_density=density))
        if self.auxiliary:
            pyro.sample(AUXILIARY, dist.Delta(value[..., len(scores) :], event_dim=1))

    def sites(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        scores = self.scores(next(iter(latents.values())))
        parts = [
            latents[z.name] if z.circular else score.score(latents[z.name])
            for score, z in zip(scores, self.latents, strict=True)
        ]
        flat = [torch.stack(parts, -1)] if parts else []
        return {MODE: torch.cat([*flat, *([latents[AUXILIARY]] if self.auxiliary else [])], -1)}

    def normals(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        mode, count = self.mode(batch), len(self.latents)
        root = mode.factor[:, :count]
        return mode.centre[:, :count], root @ root.mT, mode.found

    @torch.no_grad()
    def mode(self, batch: Batch) -> Mode:
        """Search a batch, some observations at a time."""
        most = max(1, min(MOST, HELD // self._numbers(batch)))
        every = chunks(len(batch), most) if self.workers else torch.arange(len(batch)).split(most)
        parts = [batch[rows] for rows in every]
        return Mode.join(in_order(self.workers or HERE, self._mode, parts))

    def _numbers(self, batch: Batch) -> int:
        """Numbers of the Jacobian of one observation."""
        return batch.x[0].numel() * (len(self.latents.names) + self._model[0].auxiliary)

    def _mode(self, batch: Batch) -> Mode:
        """The best of a few searches: those after the first for what it did not find."""
        parts = parts_of(self._model[0])
        best = self.start(batch)
        lifts = liftable(best, parts)
        ascend(best, parts, lifts=lifts)
        if lifts:  # what its lifted path did not reach, along a solved one
            self._again(best, torch.zeros(1, dtype=torch.long), lifts=False)
        for wave in WAVES:
            if not self._again(best, torch.tensor(wave, device=batch.x.device), lifts=lifts):
                break
        return about(best, parts, room=ROOM)

    def _again(self, best: Search, places: Tensor, *, lifts: bool) -> bool:
        """Search for what has no mode from ``places``, all at once, and put in what is better.

        Returns whether there was such an observation.
        """
        linear = best.linear()
        rows = (~reached(best, linear)).nonzero().squeeze(-1)
        if not len(rows):
            return False
        evidence = linear.evidence[rows]
        every = rows.repeat(len(places))
        again = self.start(best.batch[every], places.repeat_interleave(len(rows)))
        ascend(again, parts_of(self._model[0]), lifts=lifts)
        found = again.linear().evidence.masked_fill(~again.alive, -torch.inf)
        value, place = found.view(len(places), -1).max(0)
        better = (value > evidence + LITTLE) | (value.isfinite() & ~best.alive[rows])
        chosen = (place * len(rows) + torch.arange(len(rows), device=rows.device))[better]
        best.put(again.pick(chosen), rows[better])
        return True
