"""The covariance of images with missing pixels: those are marginalized, exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from groundvae.models.noises.stationary import Stationary, elements

ROUNDS = 500
DIGITS = 1e3  # times the precision of a number: the residual at which the solution is exact
SMALL = 1000  # values of an observation, up to which a factor for each mask is cheaper


@dataclass(frozen=True)
class Incomplete:
    """``whole`` (a covariance C), of which only ``observed`` (observation, *image) is there.

    Missing pixels are replaced by their conditional mean, a linear map of the observed ones:
    then ``|W x|^2`` is ``x_o^T C_oo^-1 x_o``. The mean solves ``(C^-1)_mm``: of small observations
    by its factor, since series whose noise has next to no power somewhere take hundreds of rounds;
    of others by conjugate gradients, with ``C_mm`` as preconditioner where missing pixels are
    together, and the diagonal where they are scattered (a fifth of the time there). It carries no
    gradient and needs none, since the square is smallest there: so first derivatives are exact, and
    second ones are not. Determinants and diagonals are dense in the missing pixels or in the
    observed ones, whichever are fewer, once for each distinct mask.
    Source: Rasmussen & Williams (2006), A.3; Golub & Van Loan (2013), 11.5.
    """

    whole: Stationary
    observed: Tensor

    def whiten(self, values: Tensor) -> Tensor:
        return self.whole.whiten(self.impute(values))

    def color(self, values: Tensor) -> Tensor:
        return self.whole.color(values)

    def precision(self, values: Tensor) -> tuple[Tensor, Tensor]:
        solved = self.whole.solve(self.impute(values))
        return solved, self._of_masks(self._diagonal).to(values)

    def log_det(self) -> Tensor:
        """Log determinant of ``C_oo``, (observation,)."""
        return self._of_masks(self._log_det)

    def impute(self, values: Tensor) -> Tensor:
        """Images whose missing pixels are the conditional mean given the others."""
        there = self.observed.to(values)
        known = values * there
        fixed = Stationary(self.whole.power.detach())  # its factors are kept, without a gradient
        with torch.no_grad():
            target = (there - 1) * fixed.solve(known)
            small = there[0].numel() <= SMALL
            filled = (self._directly if small else self._in_rounds)(fixed, target)
        return known + filled

    def _directly(self, fixed: Stationary, target: Tensor) -> Tensor:
        """``(C^-1)_mm^-1 target``, by a factor for each distinct mask."""
        masks, index = self._masks
        flat, filled = target.flatten(-3), torch.zeros_like(target).flatten(-3)
        for number, mask in enumerate(masks):
            if mask.all():
                continue
            missing, rows = (~mask).nonzero(), (index == number).nonzero()
            places = (~mask).flatten().nonzero().squeeze(-1)
            factor = torch.linalg.cholesky(elements(fixed.untable, missing, missing))
            asked = flat[..., rows, places]
            columns = asked.reshape(-1, len(places)).T.to(factor)
            solved = torch.cholesky_solve(columns, factor).T.reshape(asked.shape)
            filled[..., rows, places] = solved.to(filled)
        return filled.unflatten(-1, target.shape[-3:])

    def _in_rounds(self, fixed: Stationary, target: Tensor) -> Tensor:
        """The same, by conjugate gradients."""
        missing = (~self.observed).to(target)
        variance = missing / fixed.diagonal.to(target)
        together = _neighbours(missing) > 0.5
        return _conjugate_gradients(
            lambda image: missing * fixed.solve(image),
            target,
            lambda image: missing * fixed.apply(image) if together else variance * image,
        )

    @cached_property
    def _masks(self) -> tuple[Tensor, Tensor]:
        """Distinct masks (mask, *image), and which of them each observation has."""
        found, index = torch.unique(self.observed.flatten(1), dim=0, return_inverse=True)
        return found.unflatten(1, self.observed.shape[1:]), index

    def _of_masks(self, each: Callable[[Tensor], Tensor]) -> Tensor:
        masks, index = self._masks
        return torch.stack([each(mask) for mask in masks])[index]

    def _log_det(self, mask: Tensor) -> Tensor:
        there, missing = mask.nonzero(), (~mask).nonzero()
        if len(missing) <= len(there):
            within = elements(self.whole.untable, missing, missing)
            return self.whole.log_det() + torch.linalg.slogdet(within)[1]
        return torch.linalg.slogdet(elements(self.whole.table, there, there))[1]

    def _diagonal(self, mask: Tensor) -> Tensor:
        """Diagonal of ``C_oo^-1``, as an image that is 1 where pixels are missing."""
        there, missing = mask.nonzero(), (~mask).nonzero()
        if len(missing) <= len(there):
            factor = torch.linalg.cholesky(elements(self.whole.untable, missing, missing))
            across = elements(self.whole.untable, missing, there)
            explained = torch.linalg.solve_triangular(factor, across, upper=False)
            found = self.whole.diagonal[mask] - explained.square().sum(0)
        else:
            factor = torch.linalg.cholesky(elements(self.whole.table, there, there))
            found = torch.cholesky_inverse(factor).diagonal()
        return torch.ones_like(self.whole.diagonal).masked_scatter(mask, found)


def _neighbours(missing: Tensor) -> float:
    """Of the pixels beside a missing one, the share that is missing too."""
    down = (missing[:, 1:] * missing[:, :-1]).sum() + (missing[:, :, 1:] * missing[:, :, :-1]).sum()
    return float(down / (2 * missing.sum()))


def _conjugate_gradients(
    operator: Callable[[Tensor], Tensor], target: Tensor, precondition: Callable[[Tensor], Tensor]
) -> Tensor:
    """The image (..., row, column, channel) that ``operator`` carries to ``target``."""
    solution, residual = torch.zeros_like(target), target
    enough = (DIGITS * torch.finfo(target.dtype).eps) ** 2 * _dot(target, target)
    ready = precondition(residual)
    direction, before = ready, _dot(residual, ready)
    for _ in range(ROUNDS):
        going = _dot(residual, residual) > enough
        if not bool(going.any()):
            break
        image = operator(direction)
        step = torch.where(going, before / _dot(direction, image), before.new_zeros(()))
        solution = solution + step * direction
        residual = residual - step * image
        ready = precondition(residual)
        after = _dot(residual, ready)
        turn = torch.where(going, after / before, after.new_zeros(()))
        direction, before = ready + turn * direction, after
    return solution


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-3, -2, -1), keepdim=True)
