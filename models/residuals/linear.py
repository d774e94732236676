"""Residuals that are linear in weights of the observation's own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from groundvae.data.errors import InputError
from groundvae.models.residuals.residual import Residual, Seen
from groundvae.models.residuals.table import Table
from groundvae.models.system import OBSERVATION, Push, System
from groundvae.models.values import Values


class LinearResidual(Residual):
    """``sum_k weight_k feature_k(t, states)`` on each state that it acts on.

    Features of time alone come first among those of a state; weights of one state follow those of
    another. The weights are a function of ``z_aux``, observation by observation.
    """

    on_grid = False

    def attach(self, system: System) -> None:
        super().attach(system)
        self.on_grid = system.on_grid
        known = [name for name in (*system.pushable(), *system.inputs) if name != OBSERVATION]
        for name in self.sees:  # a push is asked beside these alone
            if name not in known:
                raise InputError(
                    f"{type(self).__name__} sees {name!r}, expected states or inputs: "
                    f"{', '.join(dict.fromkeys(known))}"
                )

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of features of each state that it acts on."""

    @property
    @abstractmethod
    def timed(self) -> int:
        """How many of them are features of time alone."""

    @abstractmethod
    def of_time(self, times: Tensor) -> Tensor:
        """Features of times (...) alone, (..., feature), on a grid (..., size, feature)."""

    @abstractmethod
    def of_states(self, times: Tensor, states: Values) -> Tensor:
        """Features of states (...), (..., feature), on a grid (..., size, feature)."""

    def summing(self, weights: Tensor) -> Callable[[Tensor, Values], Tensor]:
        """The sum (..., state) of features by weights (feature, ..., state), of a time and states.

        Of laws that are not on a grid.
        """

        def total(times: Tensor, states: Values) -> Tensor:
            features = self.of_states(times, states)
            ahead = (None,) * (features.dim() + 1 - weights.dim())  # axes weights have not
            by_feature = features.movedim(-1, 0).unsqueeze(-1)
            return (weights[:, *ahead] * by_feature).sum(0)

        return total

    @abstractmethod
    def weights(self, auxiliary: Tensor) -> Tensor:
        """Weights (..., state, feature) of ``auxiliary`` (..., auxiliary)."""

    @abstractmethod
    def stretched(self, columns: Tensor, auxiliary: Tensor) -> Tensor:
        """Derivatives (..., value, state * feature) by raw weights, made those by ``z_aux``.

        (..., value, number), of its last numbers where some move no weight.
        """

    def bind(self, seen: Seen) -> Push:
        weights = self.weights(seen.auxiliary)  # (..., state, feature)
        fixed = self.timed
        known, free = weights[..., :fixed], weights[..., fixed:]
        first = free.movedim(-1, 0).contiguous()  # as features lie: sums over them are then quick
        summed = self.summing(first) if free.shape[-1] and not self.on_grid else None

        def pushed(times: Tensor) -> Tensor:
            """(..., state), on a grid (..., state, size), of times that broadcast with (...)."""
            features = self.of_time(times)
            if self.on_grid:
                return torch.einsum("...sk,...gk->...sg", known, features)
            return torch.einsum("...sk,...k->...s", known, features)

        table = None
        if seen.stages is not None and fixed:
            stages = seen.stages.view(-1, *[1] * (weights.dim() - 2))
            table = Table(seen.stages, pushed(stages).unsqueeze(1))

        def push(time: Tensor, states: Values) -> Mapping[str, Tensor]:
            total: Tensor | float = 0.0
            if fixed:
                total = table(time) if table is not None else pushed(time)
            if summed is not None:  # a product of matrices for each path costs as much as the law
                total = total + summed(time, states)
            elif free.shape[-1]:
                features = self.of_states(time, states)
                total = total + torch.einsum("...sk,...gk->...sg", free, features)
            assert isinstance(total, Tensor)
            return dict(zip(self.acts_on, total.unbind(-2 if self.on_grid else -1), strict=True))

        return push
