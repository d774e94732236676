"""What data say of pushes along the paths as they are: evidence of functions, in the nodes' space.

With ``J`` what a push at each node of a path does to the whitened data, ``C`` their covariance
under all else that is unknown and ``d`` the data less what is expected of them, all that data say
of a push is in ``G = J^T C^-1 J`` and ``h = J^T C^-1 d``: the evidence of functions ``F`` with
weights ``N(mean, scale^2)`` is that of a linear-Gaussian model with ``B = scale F``.
Source: Rasmussen & Williams (2006), Gaussian processes for machine learning, section 2.7.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from groundvae.guides.follow import Part
from groundvae.guides.gaussian import LinearGaussian
from groundvae.guides.search import Search
from groundvae.models.influence import influence
from groundvae.models.residuals.unknown import Unknown
from groundvae.models.sensitivity import fixed_step
from groundvae.models.values import Values

PASSES = 30  # of the fixed point of a candidate's mean and variance
LEAST = 1e-12  # precision of an estimate, and variance of a weight


@dataclass(frozen=True)
class Told:
    """``gram`` (n, state * node, state * node) and ``pull`` (n, state * node): ``G`` and ``h``.

    ``states``: how many are acted on.
    """

    gram: Tensor
    pull: Tensor
    states: int

    def gains(self, values: Tensor, usual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each candidate (n, node, candidate) would bring, on each state, all else as it is.

        Evidence (state, candidate) of ``usual`` observations (n,), nats, and mean and variance of
        its weights.
        """
        values, nodes = values[usual], values.shape[1]
        gram = self.gram[usual].unflatten(2, (self.states, nodes)).unflatten(1, (-1, nodes))
        own = torch.stack([gram[:, s, :, s] for s in range(self.states)], 1)  # (n, s, k, k)
        precision = torch.einsum("nkc,nskl,nlc->nsc", values, own, values).clamp(min=LEAST)
        pull = self.pull[usual].unflatten(1, (-1, nodes))
        score = torch.einsum("nsk,nkc->nsc", pull, values)
        return candidate_gains(score / precision, precision)

    def evidence(self, values: Tensor, mean: Tensor, scale: Tensor, before: Tensor) -> Tensor:
        """Of functions with values (n, node, function), nats but for what does not depend on them.

        ``mean``, ``scale`` (state, function) of their weights; ``before`` (n, state * node): the
        push of theirs that is in the paths.
        """
        expected = torch.einsum("sf,nkf->nsk", mean, values).flatten(1)
        off = before - expected
        pulled = (self.gram @ off.unsqueeze(-1)).squeeze(-1)
        columns = torch.einsum("sf,nkf->nskf", scale, values)
        each = torch.diag_embed(columns.movedim(1, -1), dim1=1, dim2=-2)  # (n, s, k, f, s)
        each = each.flatten(1, 2).flatten(2)
        inner = torch.eye(each.shape[-1]).to(each) + each.mT @ self.gram @ each
        factor = torch.linalg.cholesky(inner)
        score = each.mT @ (self.pull + pulled).unsqueeze(-1)
        half = torch.linalg.solve_triangular(factor, score, upper=False)
        fit = 0.5 * half.square().sum((1, 2)) - (off * (self.pull + 0.5 * pulled)).sum(1)
        return fit - factor.diagonal(dim1=1, dim2=2).log().sum(1)


class Pushes:
    """The observations of a search, about their paths; of one residual the learned functions.

    ``states`` (n, node) each, by name. ``flat``: times their widths, what physics priors say.
    """

    def __init__(self, search: Search, part: Part, residual: Unknown, flat: float) -> None:
        method = fixed_step(search.model)
        assert method is not None
        noise = search.model.noise.given(search.batch).linearize(
            search.batch.x, search.mean, search.batch.observed, times=search.batch.inputs.get("t")
        )
        found = influence(
            search.model, search.scores, search.at, search.batch, method, residual.acts_on
        )
        matrix = found.matrix.flatten(-2)
        lost = ~(search.alive & torch.isfinite(matrix).flatten(1).all(1))  # they say nothing
        matrix = matrix.masked_fill(lost.view(-1, 1, 1), 0.0)
        self.influence = noise.whiten(matrix)  # (n, value, state * node)
        states = {k: v.masked_fill(lost.unsqueeze(-1), 0.0) for k, v in found.states.items()}
        self.states, self.residual, self.at = Values(states, "state"), residual, search.at
        self.place = part.weights
        self.rest, self.off = noise.whiten(search.jacobian).clone(), noise.residual
        weights = torch.arange(self.place.start, self.place.stop).view(-1, residual.count)
        self.rest[..., weights[:, residual.count - residual.learned :].flatten()] = 0.0
        self.auxiliary = search.at[:, part.auxiliary]
        self.widths = torch.ones_like(search.at[0])
        self.widths[: len(search.model.latents)] = flat
        self.first = residual.learned_of(self.states).detach()
        self.before = self._pushed(self.first)

    def functions(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What ``Told.evidence`` takes, of the functions of now."""
        learned, residual = self.residual.learned, self.residual
        mean = residual.mean[:, -learned:].detach()
        scale = (0.5 * residual.log_variance[:, -learned:]).exp().detach()
        return residual.learned_of(self.states), mean, scale, self.before

    def told(self, *, but: bool = False) -> Told:
        """What data say beside all that is unknown, ``but`` for the learned functions."""
        jacobian = self.rest if but else self.rest + self._columns(self.first)
        linear = LinearGaussian(jacobian, self.off, self.at, self.widths)
        every = torch.cat([self.influence, linear.unexplained().unsqueeze(-1)], -1)
        weighed = self.influence.mT @ linear.weighed(every)
        return Told(weighed[..., :-1], weighed[..., -1], len(self.residual.acts_on))

    def linear(self) -> LinearGaussian:
        """The posteriors under the functions of now, linear about the points."""
        values = self.residual.learned_of(self.states).detach()
        change = (self._pushed(values) - self.before).unsqueeze(-1)
        off = self.off - (self.influence @ change).squeeze(-1)
        return LinearGaussian(self.rest + self._columns(values), off, self.at, self.widths)

    def _pushed(self, values: Tensor) -> Tensor:
        """What functions (n, node, function) push at the points (n, state * node)."""
        weights = self.residual.weights(self.auxiliary)[..., -self.residual.learned :].detach()
        return torch.einsum("nsf,nkf->nsk", weights, values).flatten(1)

    def _columns(self, values: Tensor) -> Tensor:
        """Derivatives (n, value, latent) by the whitened weights of functions, zero elsewhere."""
        pushed = self.influence.unflatten(-1, (-1, values.shape[1]))
        columns = torch.einsum("nvsk,nkf->nvsf", pushed, values)
        others = self.residual.count - self.residual.learned
        whole = nn.functional.pad(columns, (others, 0)).flatten(-2)
        whitened = self.residual.stretched(whole, self.auxiliary)
        place, size = self.place, self.rest.shape[-1]
        return nn.functional.pad(whitened, (place.start, size - place.stop))


def candidate_gains(found: Tensor, precision: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Evidence (nats) of weights with a mean and a variance over none, these, and those.

    Args:
        found: each observation's own estimate of its weight (n, ...).
        precision: of these (n, ...).

    """
    variance = (found.square() * precision).mean(0) / precision.mean(0)
    mean = torch.zeros_like(variance)
    for _ in range(PASSES):
        share = 1 / (variance + 1 / precision)
        mean = (share * found).sum(0) / share.sum(0)
        off = share * (found - mean).square()
        variance = (variance * (share * off).sum(0) / share.sum(0)).clamp(min=LEAST)
    share = 1 / (variance + 1 / precision)
    off = share * (found - mean).square()
    gain = 0.5 * ((share / precision).log() - off + precision * found.square()).sum(0)
    return gain, mean, variance
