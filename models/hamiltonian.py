"""Laws of motion that a separable Hamiltonian gives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor

from groundvae.models.dynamics import Dynamics, Rate
from groundvae.models.system import Push
from groundvae.models.values import Values
from groundvae.physics.hamiltonian import Separable


class Hamiltonian(Dynamics):
    """``q' = dH/dp``, ``p' = -dH/dq`` of a separable ``H = T(p) + V(q)``; states ``q`` and ``p``.

    What ``velocity`` and ``force`` are is the system's affair, and may be learned.
    """

    @abstractmethod
    def velocity(self, p: Tensor) -> Tensor:
        """``dT/dp`` of momenta (..., n)."""

    @abstractmethod
    def force(self, q: Tensor) -> Tensor:
        """``-dV/dq`` of positions (..., n)."""

    def rate(self, t: Tensor, state: Values, z: Values, inputs: Values) -> Rate:
        return {"q": self.velocity(state.p), "p": self.force(state.q)}

    def field(
        self, z: Values, inputs: Values, pushes: Sequence[Push], *, ablated: int | None = None
    ) -> Callable[[Tensor, Tensor], Tensor]:
        if not pushes:  # a symplectic solver then does with half of the work
            return Separable(self.velocity, self.force)
        return super().field(z, inputs, pushes, ablated=ablated)
