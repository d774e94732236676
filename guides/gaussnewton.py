"""Gauss-Newton on a model's own decoder: from a guide's answer to the nearest mode.

For each observation, the latents of highest log p(x, z) near a start and the curvature there:
``H = J^T J - d2 log p(z)``, with J the decoder's Jacobian in unconstrained latents, whitened by
the noise. It is a finite difference: all of its columns are one solve of a batch so much larger,
which costs a third to an eighth of the exact sensitivities (``models.sensitivity``) of residuals
that are not linear in their weights.
Steps are damped (Levenberg-Marquardt) and no longer than the start's own scale allows. Nothing
here carries a gradient. Source: Marquardt (1963); Nocedal & Wright (2006), sections 10.3, 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.distributions import Transform, identity_transform

from groundvae.data.batch import Batch
from groundvae.models.greybox import GreyBox
from groundvae.models.noises.dependent import Dependent
from groundvae.physics.errors import NonFiniteError

STRETCH = 0.02  # of a finite difference, in units of the start's scale
REACH = 6.0  # longest step of any latent, likewise
CHANCE = 3.0  # standard deviations of a mean square that noise alone may reach
DAMPING = 0.3  # at first, in units of the start's precision
LEAST_SHARE = 1e-13  # of the whole precision, that any direction has: digits end there
FARTHEST = 3.0  # of the start's scale or of unconstrained units, that the prior moves a latent
LEAST_OWN = 1e-9  # of its own variance, that a score has beside others
LEAST = 1e-3  # prior precision that a latent has at least, where its prior is not log-concave


@dataclass(frozen=True)
class Mode:
    """Where Gauss-Newton ended, for n observations of L latents.

    ``centre`` (n, L), unconstrained, moved from there to the posterior's middle where samples are
    counted as independent; ``factor`` (n, L, L), the Cholesky factor of the inverse curvature, in
    which data further off than the noise count for less; ``misfit`` (n, 2), mean square of the
    whitened residual at the start and at the end; ``fitted`` (n,), how many of the L numbers the
    data determine rather than the prior; ``samples`` (n,), how many data there are; ``mean`` (n,
    *event), what the model gives at the mode.
    """

    centre: Tensor
    factor: Tensor
    misfit: Tensor
    fitted: Tensor
    samples: Tensor
    mean: Tensor

    def nearer(self, other: Mode) -> Mode:
        """For each observation the mode of the two that the data are nearer to."""
        better = other.misfit[:, 1] < self.misfit[:, 1]
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Mode(*(torch.where(better.view(-1, *[1] * (a.dim() - 1)), b, a) for a, b in pairs))

    def far(self) -> Tensor:
        """Which are further from the data than noise alone is, (n,) bool."""
        return self.misfit[:, 1] > usual(self.samples)

    def __getitem__(self, rows: Tensor) -> Mode:
        return Mode(*(value[rows] for value in vars(self).values()))

    def put(self, rows: Tensor, some: Mode) -> Mode:
        """The same, with ``some`` in the places ``rows`` (m,)."""
        pairs = zip(vars(self).values(), vars(some).values(), strict=True)
        return Mode(*(whole.index_copy(0, rows, part) for whole, part in pairs))

    @classmethod
    def join(cls, parts: Sequence[Mode]) -> Mode:
        """One of the observations of all ``parts``."""
        names = [field.name for field in fields(cls)]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class _Point:
    """One trial: latents, log p(x, z) (n,), and whitened residual (n, value) and Jacobian
    (n, value, L); slope and minus curvature of the log prior (n, L).
    """

    at: Tensor
    mean: Tensor
    joint: Tensor
    off: Tensor
    jacobian: Tensor
    slope: Tensor
    precision: Tensor

    @property
    def misfit(self) -> Tensor:
        return self.off.pow(2).sum(-1)

    @property
    def gram(self) -> Tensor:
        """``J^T J``, in double precision: latents differ by many orders in what moves them."""
        jacobian = self.jacobian.double()
        gram = torch.einsum("ndi,ndj->nij", jacobian, jacobian)
        least = LEAST_SHARE * gram.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
        return gram + torch.diag_embed(least.expand(gram.shape[:-1]))

    def pick(self, better: Tensor, other: _Point) -> _Point:
        """The rows of ``other`` where it is ``better`` (n,), else one's own."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Point(*(torch.where(better.view(-1, *[1] * (a.dim() - 1)), b, a) for a, b in pairs))


def usual(samples: Tensor) -> Tensor:
    """The largest mean square (n,) of so many whitened residuals that noise alone may reach."""
    return 1 + CHANCE * (2 / samples).sqrt()


class GaussNewton:
    """The search, for the observations of one batch under one model; circles are ``cut``."""

    def __init__(
        self,
        model: GreyBox,
        batch: Batch,
        hyper: Mapping[str, Tensor],
        cut: Transform = identity_transform,
    ) -> None:
        self.model, self.batch, self.hyper, self.cut = model, batch, hyper, cut
        self.count = len(model.latents)
        self.samples = batch.samples

    @torch.no_grad()
    def __call__(self, start: Tensor, scale: Tensor, rounds: int) -> Mode:
        """The mode near ``start`` (n, L), known to about ``scale`` (n, L), after ``rounds``.

        Raises:
            NonFiniteError: the model is not finite at the start.

        """
        best = first = self._point(start, scale)
        damping = torch.full_like(best.joint, DAMPING)
        for _ in range(rounds):
            try:
                trial = self._point(best.at + self._step(best, scale, damping), scale)
            except NonFiniteError:  # some series ran away: all stay where they are, more careful
                damping = 10 * damping
                continue
            better = trial.joint > best.joint
            best = best.pick(better, trial)
            damping = torch.where(better, 0.2 * damping, 5 * damping)
        misfit = torch.stack([first.misfit, best.misfit], -1) / self.samples.unsqueeze(-1)
        fitted = torch.einsum("nij,nji->n", best.gram, _covariance(best.gram, best)).to(start)
        # A mode further off than the noise allows says less than its curvature: it is as if
        # the noise of this observation were as much larger.
        tempered = best.gram / (misfit[:, 1] / usual(self.samples)).clamp(min=1.0).view(-1, 1, 1)
        centre, covariance = best.at, _covariance(tempered, best)
        if self.model.noise.working is not self.model.noise:
            step, covariance = self._weighed(best)
            far = (step.to(start) / scale.clamp(min=1.0)).abs().amax(-1, keepdim=True)
            centre = centre + step.to(start) * (FARTHEST / far).clamp(max=1.0)
        factor = torch.linalg.cholesky(covariance).to(start)
        return Mode(centre, factor, misfit, fitted, self.samples, best.mean)

    def _weighed(self, point: _Point) -> tuple[Tensor, Tensor]:
        """From a mode of the working noise to the posterior: a step (n, L), and a covariance.

        Least squares count every sample, and so the prior for next to nothing: what they tell is
        taken for what it is worth. Their score ``g`` has curvature ``G`` and, under the model's
        noise, variance ``V``: an estimate of precision ``G V^-1 G``, with which the prior is
        combined. An observation that is further off than others where it tells of its latents is
        so in ``V`` too: by the mean square of its residual, each sample weighed by its leverage.
        Source: White (1982), Maximum likelihood estimation of misspecified models; MacKinnon &
        White (1985) for leverages; Pauli, Racugno & Ventura (2011) for the prior.
        """
        noise = self.model.noise
        assert isinstance(noise, Dependent)
        half = noise.score_factor(point.jacobian, self.batch.x, self.batch.inputs.get("t")).double()
        gram, jacobian = point.gram, point.jacobian.double()
        leverage = ((jacobian @ _covariance(gram, point)) * jacobian).sum(-1)
        misfit = (leverage * point.off.double() ** 2).sum(-1) / leverage.sum(-1)
        variance = misfit.view(-1, 1, 1) * (half.mT @ half)
        own = variance.diagonal(dim1=-2, dim2=-1)
        variance = variance + torch.diag_embed(LEAST_OWN * own + LEAST_SHARE * own.sum(-1, True))
        worth = torch.linalg.solve(variance, gram)
        precision = gram @ worth + torch.diag_embed(point.precision)
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(0.5 * (precision + precision.mT)))
        score = torch.einsum("ndi,nd->ni", jacobian, point.off.double())
        uphill = torch.einsum("nij,ni->nj", worth, score) + point.slope
        return torch.einsum("nij,nj->ni", covariance, uphill), covariance

    def _step(self, point: _Point, scale: Tensor, damping: Tensor) -> Tensor:
        damped = point.gram + torch.diag_embed(point.precision + damping.unsqueeze(-1) / scale**2)
        uphill = torch.einsum("ndi,nd->ni", point.jacobian, point.off) + point.slope
        step = torch.linalg.solve(damped, uphill.double()).to(scale)
        longest = (step / scale).abs().amax(-1, keepdim=True)
        return step * (REACH / (REACH + longest))

    def _point(self, at: Tensor, scale: Tensor) -> _Point:
        """Decode at ``at`` and one finite difference beside it for every latent, at once."""
        steps = STRETCH * torch.diag_embed(scale).movedim(-1, 0)  # (L, n, L)
        seen = self._decode(torch.cat([at.unsqueeze(0), at + steps]))
        change = (seen[1:] - seen[:1]).flatten(2) / (STRETCH * scale.T.unsqueeze(-1))
        x, observed, times = self.batch.x, self.batch.observed, self.batch.inputs.get("t")
        working = self.model.noise.given(self.batch).working
        noise = working.linearize(x, seen[0], observed, times=times)
        density = working.log_prob(x, seen[0], observed, times=times)
        jacobian = noise.whiten(change.movedim(0, -1))
        joint = self._log_prior(at) + density
        return _Point(at, seen[0], joint, noise.residual, jacobian, *self._prior_slope(at))

    def _decode(self, at: Tensor) -> Tensor:
        """Noiseless observations (..., n, *event) of unconstrained latents (..., n, L)."""
        physics, _ = self.model.latents.constrain(self.cut(at)[..., : self.count])
        auxiliary = at[..., self.count :] if self.model.auxiliary else None
        return self.model.decode(physics, auxiliary, self.batch.inputs, reduced=False).full

    def _log_prior(self, at: Tensor) -> Tensor:
        """Log density (n,) of unconstrained latents (n, L) under the priors."""
        on_circles = self.cut(at)
        values, log_det = self.model.latents.constrain(on_circles[..., : self.count])
        total = log_det.sum(-1) - 0.5 * at[..., self.count :].pow(2).sum(-1)
        if self.cut is not identity_transform:
            total = total + self.cut.log_abs_det_jacobian(at, on_circles)
        for latent in self.model.latents:
            prior = latent.prior_like(at, self.hyper)
            total = total + prior.log_prob(values[latent.name])
        return total

    def _prior_slope(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """First and minus second derivatives (n, L) of the log prior: latents are independent."""
        with torch.enable_grad():
            here = at.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self._log_prior(here).sum(), here, create_graph=True)
            (second,) = torch.autograd.grad(slope.sum(), here)
        return slope.detach(), (-second).clamp(min=LEAST)


def _covariance(gram: Tensor, point: _Point) -> Tensor:
    return torch.cholesky_inverse(torch.linalg.cholesky(gram + torch.diag_embed(point.precision)))
