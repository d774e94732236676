"""An exact solver for linear fields: the matrix exponential.

Diffusion on a fine grid is stiff: an explicit step that is too long for the largest diffusion
explodes. The exponential has no such limit, and costs a few matrix products.
Source: Moler & Van Loan (2003), Nineteen dubious ways to compute the exponential, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Terms of the Taylor series: with norms below 1/2 its error is that of the numbers' precision.
TERMS = {torch.float64: 13}
SINGLE = 6


@dataclass(frozen=True)
class Exponential:
    """Solves ``d state / dt = M state`` exactly; the field must be linear and not know the time.

    ``M`` is read off the field by applying it to the unit vectors, so any linear field will do,
    and whether it is one is the caller's promise.
    """

    def __call__(
        self, field: Callable[[Tensor, Tensor], Tensor], state: Tensor, times: Tensor
    ) -> Tensor:
        """States (time, ..., dimension) at ``times`` (time,), s, from the one at ``times[0]``.

        For times (observation, time) of each one's own the state is (..., observation, dimension).
        """
        if times.dim() == 2:
            return self._own_path(field, state, times)
        if len(times) == 1:
            return state.unsqueeze(0)
        matrix = matrix_of(field, state, times[0])
        gaps = torch.diff(times)
        if (gaps - gaps[0]).abs().max() <= 1e-3 * gaps[0]:
            gap = (times[-1] - times[0]) / len(gaps)
            return _even(propagator(gap * matrix), state, len(times))
        states = [state]
        for gap in gaps:
            states.append((propagator(gap * matrix) @ states[-1].unsqueeze(-1)).squeeze(-1))
        return torch.stack(states)

    def _own_path(
        self, field: Callable[[Tensor, Tensor], Tensor], state: Tensor, times: Tensor
    ) -> Tensor:
        if times.shape[-1] == 1:
            return state.unsqueeze(0)
        matrix = matrix_of(field, state, times[:, 0])
        gaps = torch.diff(times).T[..., None, None]  # (interval, observation, 1, 1)
        if (gaps - gaps[0]).abs().max() <= 1e-3 * gaps[0].min():
            gap = (times[:, -1] - times[:, 0])[:, None, None] / len(gaps)
            return _even(propagator(gap * matrix), state, times.shape[-1])
        states = [state]
        for gap in gaps:
            states.append((propagator(gap * matrix) @ states[-1].unsqueeze(-1)).squeeze(-1))
        return torch.stack(states)

    def stage_times(self, times: Tensor) -> None:
        """The field is asked once."""


def matrix_of(field: Callable[[Tensor, Tensor], Tensor], state: Tensor, time: Tensor) -> Tensor:
    """The matrix of a linear field, (..., dimension, dimension), by its columns."""
    n = state.shape[-1]
    units = torch.eye(n, dtype=state.dtype, device=state.device)
    units = units.view(n, *[1] * (state.dim() - 1), n).expand(n, *state.shape)
    return field(time, units).movedim(0, -1)


def propagator(matrix: Tensor) -> Tensor:
    """``exp(matrix)`` by scaling and squaring a Taylor series, (..., dimension, dimension).

    ``torch.matrix_exp`` does the same and more, and takes nine
    times as long with its gradient on batches of small matrices.

    >>> propagator(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    norm = float(matrix.detach().abs().sum(-2).max())
    squarings = max(0, math.ceil(math.log2(max(norm, 1e-12) / 0.5))) if math.isfinite(norm) else 0
    scaled = matrix / 2**squarings
    unit = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    terms = TERMS.get(matrix.dtype, SINGLE)
    result = unit + scaled / terms
    for term in range(terms - 1, 0, -1):
        result = unit + scaled @ result / term
    for _ in range(squarings):
        result = result @ result
    return result


def _even(step: Tensor, state: Tensor, count: int) -> Tensor:
    """States at ``count`` even times, by doubling: half of the path carried on by its length."""
    path = state.unsqueeze(-1)
    power = step
    while path.shape[-1] < count:
        known = path.shape[-1]
        path = torch.cat([path, power @ path[..., : count - known]], -1)
        if path.shape[-1] < count:
            power = power @ power
    return path.movedim(-1, 0)
