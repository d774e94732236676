"""The posterior about modes as something to walk in (``refinement.Walk``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from groundvae.guides.densenormal import DenseNormal
from groundvae.guides.pushposterior import PushPosterior
from groundvae.models.greybox import AUXILIARY
from groundvae.models.normalscore import NormalScore


class ModeWalk:
    """The posterior about modes, over all latents of n observations, as something to walk in.

    ``names`` and ``scores`` are those of the physics latents, which stand first.
    """

    def __init__(
        self,
        posterior: PushPosterior | DenseNormal,
        names: Sequence[str],
        scores: Sequence[NormalScore],
    ) -> None:
        self.posterior, self.names, self.scores = posterior, names, scores

    def begin(self, draws: int) -> Tensor:
        drawn: Tensor = self.posterior.sample(torch.Size([draws]))
        return drawn

    def moved(self, point: Tensor, kept: float) -> Tensor:
        return self.posterior.moved(point, kept)

    def latents(self, point: Tensor) -> dict[str, Tensor]:
        flat = zip(self.names, self.scores, point.unbind(-1), strict=False)
        found = {name: score.value(u) for name, score, u in flat}
        if point.shape[-1] > len(self.scores):
            found[AUXILIARY] = point[..., len(self.scores) :]
        return found

    def log_prob(self, point: Tensor) -> Tensor:
        density: Tensor = self.posterior.log_prob(point)
        for score, u in zip(self.scores, point.unbind(-1), strict=False):
            density = density - score.log_slope(u, score.value(u))
        return density
