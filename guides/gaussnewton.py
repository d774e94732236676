"""Gauss-Newton on a model's own decoder: from a guide's answer to the nearest mode.

For each observation, the latents of highest log p(x, z) near a start and the curvature there:
``H = J^T J - d2 log p(z)``, with J the decoder's Jacobian in unconstrained latents, whitened by
the noise. It is a finite difference: all of its columns are one solve of a batch so much larger,
which costs a third to an eighth of the exact sensitivities (``models.sensitivity``) of residuals
that are not linear in their weights.
Steps are those of every search (``search.py``), and no longer than the start's own scale allows.
Nothing here carries a gradient. Source: Marquardt (1963); Nocedal & Wright (2006), sections 4.1 and
10.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.distributions import Transform, identity_transform

from groundvae.data.batch import Batch
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.search import Search
from groundvae.models.greybox import GreyBox
from groundvae.models.noises.dependent import Dependent
from groundvae.models.noises.noise import Noise
from groundvae.models.path import Linearization
from groundvae.physics.errors import tolerant

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


def usual(samples: Tensor) -> Tensor:
    """The largest mean square (n,) of so many whitened residuals that noise alone may reach."""
    return 1 + CHANCE * (2 / samples).sqrt()


class GaussNewton(Search):
    """The search, in unconstrained latents, for the observations of one batch under one model.

    Args:
        model: whose decoder is asked.
        batch: n observations.
        hyper: hyperparameters of the priors.
        start: where it begins, (n, L).
        scale: how far off that may be, (n, L); the damping and the longest step are in its units.
        cut: from the lines on which angles are searched onto their circles.

    Raises:
        NonFiniteError: the model is not finite at the start.

    """

    POINT = (*Search.POINT, "scale")

    def __init__(
        self,
        model: GreyBox,
        batch: Batch,
        hyper: Mapping[str, Tensor],
        start: Tensor,
        scale: Tensor,
        cut: Transform = identity_transform,
    ) -> None:
        self.hyper, self.cut, self.scale = hyper, cut, scale
        super().__init__(model, (), batch, start)
        self.damping = torch.full_like(self.damping, DAMPING)

    @torch.no_grad()
    def __call__(self, rounds: int) -> Mode:
        """The mode that so many ``rounds`` come to."""
        here = self.linear()
        misfits = [here.residual.square().sum(-1)]
        with tolerant():  # a series that runs away stays where it is, more careful
            for _ in range(rounds):
                self.move(here)
                here = self.linear()
        samples = self.batch.samples
        misfits.append(here.residual.square().sum(-1))
        misfit = torch.stack(misfits, -1).to(self.at) / samples.unsqueeze(-1)
        centre, widths = self.at, here.widths
        if self.model.noise.working is not self.model.noise:
            step, covariance = self._weighed(here)
            far = (step / self.scale.clamp(min=1.0)).abs().amax(-1, keepdim=True)
            centre = centre + (step * (FARTHEST / far).clamp(max=1.0)).to(centre)
        else:
            # A mode further off than the noise allows says less than its curvature: it is as if
            # the noise of this observation were as much larger.
            off = (misfit[:, 1] / usual(samples)).clamp(min=1.0).sqrt().view(-1, 1, 1)
            said = here.jacobian / widths.unsqueeze(-2) / off
            covariance = LinearGaussian(said, here.residual, here.now, widths).covariance()
        factor = torch.linalg.cholesky(covariance).to(self.at)
        fitted = here.told.sum(-1).to(self.at)
        return Mode(centre, factor, misfit, fitted, samples, self.mean)

    @torch.no_grad()
    def renew(self) -> None:
        """Decode at the points and one finite difference beside them for every latent, at once."""
        steps = STRETCH * torch.diag_embed(self.scale).movedim(-1, 0)  # (L, n, L)
        seen = self._decode(torch.cat([self.at.unsqueeze(0), self.at + steps]))
        change = (seen[1:] - seen[:1]).flatten(2) / (STRETCH * self.scale.T.unsqueeze(-1))
        self.take(Linearization(seen[0], change.movedim(0, -1)))

    @torch.no_grad()
    def linear(self, widened: float = 1.0) -> LinearGaussian:
        """In double precision: latents differ by many orders in what moves them.

        The prior is taken for the normal of its slope and curvature at the points.
        """
        noise, (slope, precision) = self._linear_noise(), self._prior_slope()
        jacobian = noise.whiten(self.jacobian).double()
        told = jacobian.square().sum((1, 2)).unsqueeze(-1)
        widths = widened * (precision + LEAST_SHARE * told).rsqrt()
        return LinearGaussian(jacobian, noise.residual.double(), -slope * widths**2, widths)

    def damped(self, linear: LinearGaussian) -> Tensor:
        return self.damping.unsqueeze(-1) * (linear.widths / self.scale) ** 2

    def held(self, wanted: Tensor) -> Tensor:
        step = wanted - self.at
        longest = (step / self.scale).abs().amax(-1, keepdim=True)
        return self.at + step * (REACH / (REACH + longest))

    @property
    def _noise(self) -> Noise:
        return super()._noise.working

    def _weighed(self, here: LinearGaussian) -> tuple[Tensor, Tensor]:
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
        precision, jacobian = here.widths**-2, here.jacobian / here.widths.unsqueeze(-2)
        half = noise.score_factor(jacobian.to(self.at), self.batch.x, self.batch.inputs.get("t"))
        leverage = ((jacobian @ here.covariance()) * jacobian).sum(-1)
        misfit = (leverage * here.residual**2).sum(-1) / leverage.sum(-1)
        variance = misfit.view(-1, 1, 1) * (half.mT @ half).double()
        own = variance.diagonal(dim1=-2, dim2=-1)
        variance = variance + torch.diag_embed(LEAST_OWN * own + LEAST_SHARE * own.sum(-1, True))
        gram = jacobian.mT @ jacobian
        worth = torch.linalg.solve(variance, gram)
        whole = gram @ worth + torch.diag_embed(precision)
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(0.5 * (whole + whole.mT)))
        score = torch.einsum("ndi,nd->ni", jacobian, here.residual)
        uphill = torch.einsum("nij,ni->nj", worth, score) - here.now / here.widths
        return torch.einsum("nij,nj->ni", covariance, uphill), covariance

    def _decode(self, at: Tensor) -> Tensor:
        """Noiseless observations (..., n, *event) of unconstrained latents (..., n, L)."""
        count = len(self.model.latents)
        physics, _ = self.model.latents.constrain(self.cut(at)[..., :count])
        auxiliary = at[..., count:] if self.model.auxiliary else None
        return self.model.decode(physics, auxiliary, self.batch.inputs, reduced=False).full

    def log_prior(self) -> Tensor:
        return self._log_prior(self.at)

    def _log_prior(self, at: Tensor) -> Tensor:
        """Log density (n,) of unconstrained latents (n, L) under the priors."""
        on_circles, count = self.cut(at), len(self.model.latents)
        values, log_det = self.model.latents.constrain(on_circles[..., :count])
        total = log_det.sum(-1) - 0.5 * at[..., count:].pow(2).sum(-1)
        if self.cut is not identity_transform:
            total = total + self.cut.log_abs_det_jacobian(at, on_circles)
        for latent in self.model.latents:
            prior = latent.prior_like(at, self.hyper)
            total = total + prior.log_prob(values[latent.name])
        return total

    def _prior_slope(self) -> tuple[Tensor, Tensor]:
        """First and minus second derivatives (n, L) of the log prior: latents are independent."""
        with torch.enable_grad():
            here = self.at.detach().double().requires_grad_()
            (slope,) = torch.autograd.grad(self._log_prior(here).sum(), here, create_graph=True)
            (second,) = torch.autograd.grad(slope.sum(), here)
        return slope.detach(), (-second).clamp(min=LEAST)
