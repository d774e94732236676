"""The Laplace guide: a structured answer, taken to the mode by the model itself, then corrected.

The amortized answer is where a Gauss-Newton search on the decoder begins; its mode and curvature
are coordinates in which the posterior is nearly standard normal; a family in these coordinates
learns what is left: shifts, widths, skew. Source: Park, Kim & Kim (2019), Variational Laplace
autoencoders (here the start is the paper's structured guide, learned from simulations).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.affine import TriangularAffine
from groundvae.guides.amortized import share
from groundvae.guides.calibration import CalibrationLoss
from groundvae.guides.circle import Circles, CircleTransform
from groundvae.guides.descent import Descent
from groundvae.guides.encoder import Encoder
from groundvae.guides.family import START, Family, NormalFamily, carried
from groundvae.guides.gaussnewton import GaussNewton, Mode
from groundvae.guides.guide import Guide
from groundvae.guides.options import GuideOptions
from groundvae.guides.phase import Fitting, Phase
from groundvae.guides.population import Population
from groundvae.guides.structured import StructuredGuide
from groundvae.models.greybox import AUXILIARY, GreyBox
from groundvae.models.latent import LatentSpec
from groundvae.physics.errors import NonFiniteError

CORRECTED = "corrected_unconstrained"
REACH = 1.5  # of a log scale from that at the mode: a correction, no new answer
SHARPENINGS = 3  # in which the noise scale finds its place
VALUES = 3_000_000  # samples from which the noise is learned at most
TOGETHER = 2000  # observations searched at once: a solve costs about the same for fewer
HELD = 10_000_000  # numbers of a Jacobian held at once
FURTHER = 4  # times the rounds, where times are others than the fit's
STARTS, POINTS = 8, 200  # draws of the prior to search from then, and those that tell its width


@dataclass(frozen=True)
class LaplaceApproximation:
    """What the search left for n observations: the correction's input, and its coordinates.

    ``features`` (n, feature); ``centre`` (n, L) and ``factor`` (n, L, L) of ``TriangularAffine``;
    ``heading`` (n, circle), opposite to which circles are cut.
    """

    features: Tensor
    centre: Tensor
    factor: Tensor
    heading: Tensor

    def __getitem__(self, rows: Tensor) -> LaplaceApproximation:
        return LaplaceApproximation(*(value[rows] for value in vars(self).values()))


class LaplaceGuide(Guide):
    """A structured normal guide, and a family about the mode that Gauss-Newton finds from it.

    Both are learned one after the other, see ``calibration.py``: what comes before the
    correction carries no gradient here. Circles are cut opposite to the first answer, and searched
    on the line that this leaves.
    """

    OPTIONS = ("rounds",)

    def __init__(
        self,
        encoder: Encoder,
        spec: LatentSpec,
        auxiliary: int,
        family: type[Family],
        options: GuideOptions,
    ) -> None:
        super().__init__()
        self.first = StructuredGuide(encoder, spec, auxiliary, NormalFamily, options)
        self.latents, self.auxiliary, self.circles = spec, auxiliary, Circles(spec)
        self.rounds = options.pick("rounds", 4)
        latents = len(spec) + auxiliary
        self.correction = family(encoder.features + 4 * latents + 2, latents, options, reach=REACH)
        with torch.no_grad():  # at first, almost the normal about the mode
            self.correction.head.weight.mul_(0.1)

    @property
    def encoder(self) -> Encoder:
        return self.first.encoder

    @property
    def population(self) -> Population:
        return self.first.population

    def phases(self, fitting: Fitting) -> tuple[Phase, ...]:
        """Those of the first answer, then the correction about the modes, once nothing else moves.

        Modes are nearer to the data than the first answer was: so is the noise.
        """
        steps = share(fitting.options.calibrate, fitting)
        calibrate = Phase("calibrate", steps, self, lambda f: self._calibrated(f, steps))
        return (*self.first.learned(fitting), calibrate)

    def _calibrated(self, fitting: Fitting, steps: int) -> Descent:
        some = max(1, VALUES // fitting.train.x[0].numel())
        batch = fitting.train
        if len(batch) > some:
            batch = batch[torch.randperm(len(batch))[:some]]
        for _ in range(SHARPENINGS):
            self.refit_noise(batch)
        if not steps:
            return Descent(fitting, lambda *_: {}, [self.correction], steps=1, rate=1.0)
        seen = steps * min(fitting.options.batch_size, len(fitting.train))
        loss = CalibrationLoss(fitting, self, seen)
        rate = fitting.options.learning_rate
        return Descent(fitting, loss, [self.correction], steps=steps, rate=rate)

    def attach(self, model: GreyBox) -> None:
        # In a tuple: the model's parameters are not the guide's own.
        self._model = (model,)

    def examine(self, batch: Batch) -> LaplaceApproximation:
        """The modes."""
        return self.approximation(batch)

    def forward(self, batch: Batch, found: object = None) -> None:
        self.population()
        known = self.examine(batch) if found is None else found
        assert isinstance(known, LaplaceApproximation)
        with pyro.plate("observation", len(batch), dim=-1):
            value = pyro.sample(CORRECTED, self.corrected(known), infer={"is_auxiliary": True})
            self.place(value)

    def corrected(self, approximation: LaplaceApproximation) -> dist.TorchDistribution:
        """q(z | x) over all latents, unconstrained, physics first."""
        # A fresh family's scale is exp(START): in coordinates of the mode that is one.
        onto = TriangularAffine(approximation.centre, approximation.factor * math.exp(-START))
        line = carried(self.correction(approximation.features), onto)
        if not len(self.circles.places):
            return line
        return carried(line, self.circles.cut(approximation.heading))

    @torch.no_grad()
    def approximation(self, batch: Batch) -> LaplaceApproximation:
        """Search the modes of a batch."""
        start, scale, cut = self._start(batch)
        mode = self._search(batch, start, scale, cut)
        features = self._features(batch, start, scale, mode)
        return LaplaceApproximation(features, mode.centre, mode.factor, cut.heading)

    @torch.no_grad()
    def refit_noise(self, batch: Batch) -> None:
        """Move the model's noise to that of largest evidence, from what the modes leave."""
        mode = self._search(batch, *self._start(batch))
        noise, freedom = self._model[0].noise.given(batch), mode.samples - mode.fitted
        times = batch.inputs.get("t")
        noise.refit(batch.x - mode.mean, freedom, batch.observed, times=times)

    def _start(self, batch: Batch) -> tuple[Tensor, Tensor, CircleTransform]:
        """The first answer (n, L), its scale, both on a line, and how circles were cut for it."""
        answer, spread = self.first.centre(batch)
        cut = self.circles.cut(answer[:, self.circles.places])
        return *cut.line(answer, spread), cut

    def _search(self, batch: Batch, start: Tensor, scale: Tensor, cut: CircleTransform) -> Mode:
        """The modes; where times are not those that the first answer was learned on, for longer.

        There it may be far off. What is then still not near the data is searched from the prior.
        """
        mode = self._modes(batch, start, scale, cut, self.rounds)
        rows = (~self.encoder.knows(batch)).nonzero().squeeze(-1)
        if not len(rows):
            return mode
        own = self.circles.cut(cut.heading[rows])
        return mode.put(rows, self._longer(batch[rows], start[rows], scale[rows], own))

    def _longer(self, batch: Batch, start: Tensor, scale: Tensor, cut: CircleTransform) -> Mode:
        """The modes, patiently, and from draws of the prior for what is still not near the data."""
        mode = self._modes(batch, start, scale, cut, FURTHER * self.rounds)
        rows = mode.far().nonzero().squeeze(-1)
        if not len(rows):
            return mode
        some, best = self.circles.cut(cut.heading[rows]), mode[rows]
        points = self._prior_points(start)
        wide = points.std(0).expand(len(rows), -1)
        for point in points[:STARTS]:
            with suppress(NonFiniteError):  # a law need not be finite wherever its prior is
                begin = point.expand(len(rows), -1)
                found = self._modes(batch[rows], begin, wide, some, FURTHER * self.rounds)
                best = best.nearer(found)
        return mode.put(rows, best)

    def _prior_points(self, like: Tensor) -> Tensor:
        """Draws (point, L) of the prior, unconstrained, the same whenever they are asked for."""
        hyper = self.population.centres()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            shape = torch.Size([POINTS])
            drawn = {z.name: z.prior_like(like, hyper).expand(shape).sample() for z in self.latents}
            drawn[AUXILIARY] = torch.randn(POINTS, self.auxiliary).to(like)
        return self.flat(drawn)

    def _modes(
        self, batch: Batch, start: Tensor, scale: Tensor, cut: CircleTransform, rounds: int
    ) -> Mode:
        """The modes near ``start``, some observations at a time."""
        hyper = self.population.centres()
        size = max(1, min(TOGETHER, HELD // (batch.x[0].numel() * (1 + start.shape[1]))))
        modes = []
        for i in range(0, len(batch), size):
            some = slice(i, i + size)
            own = self.circles.cut(cut.heading[some])
            model, near = self._model[0], (start[some], scale[some])
            modes.append(GaussNewton(model, batch[some], hyper, *near, own)(rounds))
        return Mode.join(modes)

    def _features(self, batch: Batch, start: Tensor, scale: Tensor, mode: Mode) -> Tensor:
        """What the correction reads: the observation, the start, and how the search went."""
        return torch.cat(
            [
                self.encoder.describe(self.encoder.read(batch)),
                torch.tanh(start / 3),
                torch.tanh((mode.centre - start) / scale / 3),
                torch.log(scale),
                torch.log(mode.factor.pow(2).sum(-1).sqrt()),
                torch.log(mode.misfit + 1e-3),
            ],
            -1,
        )

    def sites(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {CORRECTED: self.flat(latents)}
