"""Coordinates in which a posterior is nearly a standard normal: those of its highest mode.

A guide's draws may lie about several modes, most of them with hardly any mass, and a chain that
starts at one of these stays there. So the modes near some draws are searched first; the masses
that a Laplace approximation gives them decide where chains start, and the curvature at the
heaviest gives the coordinates. Source: Gelman et al. (2013), Bayesian Data Analysis, chapter 13.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyro
import torch
from pyro import poutine
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.affine import TriangularAffine
from groundvae.guides.gaussnewton import GaussNewton
from groundvae.guides.guide import log_prob_of
from groundvae.inference.run import Run
from groundvae.models.greybox import AUXILIARY, GreyBox, site_value

DRAWS = 1000  # of the guide, for its scales
SEARCHES = 16  # of them, from which modes are searched
ROUNDS = 40  # of Gauss-Newton at most
SAME = 0.5  # standard deviations within which two searches ended at one mode
VALUES = 400_000  # that are decoded at once: few paths cost a solver what thousands do


class Coordinates:
    """All latents of n observations as one vector (n, latent).

    Latents, unconstrained and physics first, are ``centre + factor @ point`` with ``centre``
    (..., n, latent) and ``factor`` (..., n, latent, latent), lower triangular.
    """

    def __init__(self, model: GreyBox, centre: Tensor, factor: Tensor) -> None:
        self.model, self.centre, self.factor = model, centre, factor
        self.onto = TriangularAffine(centre, factor)

    def latents(self, point: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Latents by name of points (..., n, latent), and log |d latents / d point| (..., n)."""
        flat = self.flat(point)
        count = len(self.model.latents)
        values: dict[str, Tensor] = {}
        log_det = self.onto.log_abs_det_jacobian(point, flat)
        if count:
            values, stretch = self.model.latents.constrain(flat[..., :count])
            log_det = log_det + stretch.sum(-1)
        if self.model.auxiliary:
            values[AUXILIARY] = flat[..., count:]
        return values, log_det

    def flat(self, point: Tensor) -> Tensor:
        """Unconstrained latents (..., n, latent) of points."""
        flat: Tensor = self.onto(point)
        return flat

    def point(self, flat: Tensor) -> Tensor:
        """The inverse of ``flat``."""
        point: Tensor = self.onto.inv(flat)
        return point

    def pick(self, mode: Tensor) -> Coordinates:
        """Of coordinates about several modes (mode, n, ...), those about ``mode`` (..., n)."""
        rows = torch.arange(mode.shape[-1])
        return Coordinates(self.model, self.centre[mode, rows], self.factor[mode, rows])


@torch.no_grad()
def find_coordinates(
    run: Run, batch: Batch, hyper: Mapping[str, Tensor], chains: int
) -> tuple[Coordinates, Tensor]:
    """Coordinates about the heaviest mode, and starts (chain, n, latent) of chains in them.

    Chains start at draws of the Laplace approximations about all modes that were found, each
    mode as often as its mass says.

    Raises:
        NonFiniteError: the model is not finite at a draw of the guide.

    """
    modes = _modes(run, batch, hyper)
    origin = torch.zeros_like(modes.centre)
    latents, log_det = modes.latents(origin)
    mass = log_joint(run, batch, latents, hyper) + log_det
    # A mode at which several searches ended has its mass once.
    apart = modes.point(modes.centre.unsqueeze(1)).norm(dim=-1)  # (search, from search, n)
    share = mass - (apart < SAME).sum(0).log()
    chosen = torch.distributions.Categorical(logits=share.T).sample(torch.Size([chains]))
    best = modes.pick(mass.argmax(0))
    about = modes.pick(chosen)
    return best, best.point(about.flat(torch.randn_like(about.centre)))


def _modes(run: Run, batch: Batch, hyper: Mapping[str, Tensor]) -> Coordinates:
    """Coordinates about the modes (search, n, ...) near some of the guide's draws."""
    with pyro.plate("draw", DRAWS, dim=-2):
        trace = poutine.trace(run.guide).get_trace(batch)
    drawn = {name: site_value(trace, name) for name in run.model.latent_names}
    flat = run.model.latents.lifted(run.guide.flat(drawn))
    starts, scale = flat[:SEARCHES], flat.std(0)
    rows = torch.arange(len(batch)).repeat(SEARCHES)
    search = GaussNewton(run.model, batch[rows], hyper, starts.flatten(0, 1), scale[rows])
    mode = search(ROUNDS)
    return Coordinates(
        run.model, mode.centre.view_as(starts), mode.factor.view(*starts.shape, starts.shape[-1])
    )


@torch.no_grad()
def log_joint(
    run: Run, batch: Batch, latents: Mapping[str, Tensor], hyper: Mapping[str, Tensor]
) -> Tensor:
    """Log p(x, z) (draw, observation) of ``latents`` (draw, observation, ...)."""
    parts = []
    total = len(next(iter(latents.values())))
    together = max(1, VALUES // max(1, batch.x.numel()))
    for first in range(0, total, together):
        some = {name: value[first : first + together] for name, value in latents.items()}
        world = poutine.condition(run.model, data={**some, **hyper})
        with pyro.plate("draw", min(together, total - first), dim=-2):
            parts.append(log_prob_of(poutine.trace(world).get_trace(batch, reduced=False), batch))
    return torch.cat(parts)
