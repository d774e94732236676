"""A linear push of a field from each point's neighbours: knowledge of a shape, by a name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from groundvae.models.network import perceptron
from groundvae.models.residuals.residual import RESIDUALS, Residual, Seen
from groundvae.models.system import Push
from groundvae.models.values import Values
from groundvae.physics.advection_diffusion import neighbours


@RESIDUALS.register("stencil")
class Stencil(Residual):
    """A push from each point's two neighbours and itself; a network of z sets the weights, 1/s.

    The same everywhere on the line, and linear in the state. ``odd`` lets the weights be
    ``(-w, 0, w)`` only: such a stencil cannot imitate diffusion, which is even, nor decay, and
    that is what identifies the physics. A free one has all three weights of its own.
    """

    def __init__(
        self,
        acts_on: str,
        *,
        auxiliary: int = 4,
        odd: bool = True,
        scale: float = 1.0,
        width: int = 64,
    ) -> None:
        super().__init__(acts_on, (acts_on,), auxiliary)
        self.odd, self.scale = odd, scale
        self.weights = perceptron(auxiliary, 1 if odd else 3, width=width, start=0.1)

    def bind(self, seen: Seen) -> Push:
        (name,) = self.acts_on
        weights = self.scale * self.weights(seen.auxiliary)

        left, centre, right = (-weights, None, weights) if self.odd else weights.split(1, dim=-1)

        def push(time: Tensor, states: Values) -> Mapping[str, Tensor]:
            before, after = neighbours(states[name])
            if centre is None:
                return {name: right * (after - before)}
            return {name: left * before + centre * states[name] + right * after}

        return push
