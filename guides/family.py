"""Families: from features to a distribution over unconstrained latents, (..., latent)."""

from __future__ import annotations

import pyro.distributions as dist
import torch
import zuko
from pyro.contrib.zuko import ZukoToPyro
from torch import Tensor, nn
from torch.distributions import AffineTransform, TransformedDistribution

from groundvae.models.network import ResidualMLP

START = -1.0  # log scale of a fresh guide: narrower than the priors, wider than a posterior
RANGE = 6.0  # a log scale lies within START +- RANGE, whatever an odd observation makes of it


def positive(raw: Tensor) -> Tensor:
    """Scales from a network's outputs: exp near 0, bounded far away.

    >>> positive(torch.tensor([0.0, 1e6])).log()
    tensor([-1.,  5.])
    """
    return torch.exp(START + RANGE * torch.tanh(raw / RANGE))


class NormalFamily(nn.Module):
    """Mean-field normal.

    >>> NormalFamily(5, 2)(torch.zeros(3, 5)).batch_shape
    torch.Size([3])
    """

    def __init__(self, features: int, latents: int, *, width: int = 256, blocks: int = 2) -> None:
        super().__init__()
        self.network = ResidualMLP(features, 2 * latents, width=width, blocks=blocks)

    def forward(self, features: Tensor) -> dist.TorchDistribution:
        mean, log_scale = self.network(features).chunk(2, -1)
        return dist.Normal(mean, positive(log_scale)).to_event(1)


class FullRankFamily(nn.Module):
    """Normal with a full covariance matrix, through its Cholesky factor."""

    rows: Tensor
    columns: Tensor

    def __init__(self, features: int, latents: int, *, width: int = 256, blocks: int = 2) -> None:
        super().__init__()
        self.latents = latents
        below = torch.tril_indices(latents, latents, offset=-1)
        self.register_buffer("rows", below[0])
        self.register_buffer("columns", below[1])
        outputs = 2 * latents + below.shape[1]
        self.network = ResidualMLP(features, outputs, width=width, blocks=blocks)

    def forward(self, features: Tensor) -> dist.TorchDistribution:
        n = self.latents
        mean, log_scale, lower = self.network(features).split([n, n, len(self.rows)], -1)
        factor = torch.diag_embed(positive(log_scale))
        factor[..., self.rows, self.columns] = lower
        return dist.MultivariateNormal(mean, scale_tril=factor)


class FlowFamily(nn.Module):
    """A neural spline flow on the features: skewed, curved, several modes.

    Coupling transforms: both directions are one pass. Splines act on (-5, 5); outside, the flow
    is affine. Source: Durkan et al. (2019), Neural spline flows; implementation: zuko.
    """

    CONTEXT = 64

    def __init__(self, features: int, latents: int, *, width: int = 256, blocks: int = 2) -> None:
        super().__init__()
        self.network = ResidualMLP(features, self.CONTEXT, width=width, blocks=blocks)
        self.centre = nn.Linear(self.CONTEXT, 2 * latents)
        transforms = max(2, min(3, latents))
        self.flow = zuko.flows.NSF(
            latents, self.CONTEXT, transforms=transforms, passes=2, hidden_features=(64, 64)
        )

    def forward(self, features: Tensor) -> dist.TorchDistribution:
        context = self.network(features)
        mean, log_scale = self.centre(context).chunk(2, -1)
        # The flow gives the shape; an affine map by the features gives the place and the size.
        place = AffineTransform(mean, positive(log_scale), event_dim=1)
        return ZukoToPyro(TransformedDistribution(self.flow(context), [place]))


Family = NormalFamily | FullRankFamily | FlowFamily
FAMILIES: dict[str, type[Family]] = {
    "normal": NormalFamily,
    "fullrank": FullRankFamily,
    "flow": FlowFamily,
}
