"""A model along its tangent at one point of each observation.

A draw of a normal about a mode may lie where the law does something else altogether: a pendulum
that goes over the top says nothing of the posterior, and its error drowns all others. Along the
tangent the expected log likelihood is that of Laplace's approximation, and so is its gradient, in
all parameters, penalties included. Source: Wang & Blei (2013), Variational inference in
nonconjugate models, the delta method; here the tangent is a central difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from groundvae.models.decoded import Decoded
from groundvae.models.greybox import GreyBox
from groundvae.models.normalscore import NormalScore

SHARE = 0.1  # of the way to a draw, that the difference is taken over


class Tangent(GreyBox):
    """The same model, parameters and all; what it decodes is linear in standard normal latents.

    Args:
        model: whose parameters it has.
        scores: of the physics latents.
        at: points (n, latent) where it is as the model, normal scores first, then ``z_aux``.

    """

    def __init__(self, model: GreyBox, scores: Sequence[NormalScore], at: Tensor) -> None:
        self.__dict__.update(model.__dict__)  # no module of its own: what it learns, the model does
        self.scores = dict(zip(model.latents.names, scores, strict=True))
        self.at = at

    def decode(
        self,
        physics: Mapping[str, Tensor],
        auxiliary: Tensor | None,
        inputs: Mapping[str, Tensor],
        *,
        reduced: bool = True,
    ) -> Decoded:
        count = len(self.scores)
        near = {
            name: score.value(_near(score.score(physics[name]), self.at[:, i]))
            for i, (name, score) in enumerate(self.scores.items())
        }
        beside = None if auxiliary is None else _near(auxiliary, self.at[:, count:])
        found = super().decode(near, beside, inputs, reduced=reduced)
        partial = {name: _line(value) for name, value in found.partial.items()}
        alone = None if found.physics is None else _line(found.physics)
        return Decoded(_line(found.full), alone, partial)


def _near(draw: Tensor, middle: Tensor) -> Tensor:
    """The middle, and points a little way from it towards a draw (...) and back, (3, ...)."""
    step = SHARE * (draw - middle)
    return torch.stack([middle, middle + step, middle - step])


def _line(values: Tensor) -> Tensor:
    """Values (3, ...) at these points, carried on to the draw (...)."""
    middle, there, back = values.unbind(0)
    return middle + (there - back) / (2 * SHARE)
