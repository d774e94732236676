"""What a noise whose samples know each other asks of its covariance."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Covariance(Protocol):
    """C of the samples of an observation, values (..., observation, *axes, channel).

    Of missing samples, values in are ignored and values out are of no meaning, except that
    ``whiten`` counts them as what makes its squares smallest, which marginalizes them.
    """

    def whiten(self, values: Tensor) -> Tensor:
        """``W values`` with ``W^T W = C^-1``, its axes in any order behind the observations."""
        ...

    def color(self, values: Tensor) -> Tensor:
        """``A values`` with ``A A^T = C``: of white draws it makes draws of the noise."""
        ...

    def precision(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """``C^-1 values``, and the diagonal of ``C^-1``, of shapes that broadcast."""
        ...

    def log_det(self) -> Tensor:
        """Log determinant of C, (observation,) or ()."""
        ...
