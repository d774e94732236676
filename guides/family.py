"""Families: from features to a distribution over unconstrained latents, (..., latent)."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.contrib.zuko import ZukoToPyro
from torch import Tensor, nn
from torch.distributions import Transform, TransformedDistribution

from groundvae.guides.flow import PlacedFlow, Splines
from groundvae.guides.options import GuideOptions
from groundvae.models.network import ResidualMLP

START = -1.0  # log scale of a fresh guide: narrower than the priors, wider than a posterior
RANGE = 6.0  # a log scale lies this near to START, whatever an odd observation makes of it


def positive(raw: Tensor, reach: float = RANGE) -> Tensor:
    """Scales from a network's outputs: exp near 0, bounded far away.

    >>> positive(torch.tensor([0.0, 1e6])).log()
    tensor([-1.,  5.])
    """
    return torch.exp(START + reach * torch.tanh(raw / reach))


class NormalFamily(nn.Module):
    """Mean-field normal.

    >>> NormalFamily(5, 2, GuideOptions())(torch.zeros(3, 5)).batch_shape
    torch.Size([3])
    """

    OPTIONS = ("width", "blocks")

    def __init__(
        self, features: int, latents: int, options: GuideOptions, *, reach: float = RANGE
    ) -> None:
        super().__init__()
        self.reach = reach
        self.network = _reader(features, 2 * latents, options)

    @property
    def head(self) -> nn.Linear:
        """The layer that gives place and size."""
        return self.network.head

    def forward(self, features: Tensor) -> dist.TorchDistribution:
        mean, log_scale = self.network(features).chunk(2, -1)
        return dist.Normal(mean, positive(log_scale, self.reach)).to_event(1)


class FullRankFamily(nn.Module):
    """Normal with a full covariance matrix, through its Cholesky factor."""

    rows: Tensor
    columns: Tensor

    OPTIONS = ("width", "blocks")

    def __init__(
        self,
        features: int,
        latents: int,
        options: GuideOptions,
        *,
        reach: float = RANGE,
        context: int = 0,
    ) -> None:
        super().__init__()
        self.latents, self.reach, self.context = latents, reach, context
        below = torch.tril_indices(latents, latents, offset=-1)
        self.register_buffer("rows", below[0])
        self.register_buffer("columns", below[1])
        self.network = _reader(features, 2 * latents + below.shape[1] + context, options)

    @property
    def head(self) -> nn.Linear:
        """The layer that gives place and size."""
        return self.network.head

    def forward(self, features: Tensor) -> dist.TorchDistribution:
        mean, factor, _ = self.parts(features)
        return dist.MultivariateNormal(mean, scale_tril=factor)

    def parts(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, Cholesky factor, and ``context`` further outputs that a flow reads."""
        n = self.latents
        sizes = [n, n, len(self.rows), self.context]
        mean, log_scale, lower, context = self.network(features).split(sizes, -1)
        factor = torch.diag_embed(positive(log_scale, self.reach))
        factor[..., self.rows, self.columns] = lower
        return mean, factor, context


class FlowFamily(nn.Module):
    """A neural spline flow on the features: skewed, curved, several modes.

    The flow gives the shape; place, size and linear correlations come from the features.
    """

    CONTEXT = 64
    OPTIONS = ("width", "blocks", "transforms", "hidden", "bins")

    def __init__(
        self, features: int, latents: int, options: GuideOptions, *, reach: float = RANGE
    ) -> None:
        super().__init__()
        self.place = FullRankFamily(features, latents, options, reach=reach, context=self.CONTEXT)
        self.flow = Splines(
            latents,
            self.CONTEXT,
            transforms=options.pick("transforms", 1),
            bins=options.pick("bins", 8),
            hidden=options.pick("hidden", 64),
        )

    @property
    def head(self) -> nn.Linear:
        """The layer that gives place and size."""
        return self.place.head

    def forward(self, features: Tensor) -> dist.TorchDistribution:
        mean, factor, context = self.place.parts(features)
        return ZukoToPyro(PlacedFlow(mean, factor, self.flow(context)))


def _reader(features: int, outputs: int, options: GuideOptions) -> ResidualMLP:
    width, blocks = options.pick("width", 128), options.pick("blocks", 2)
    return ResidualMLP(features, outputs, width=width, blocks=blocks)


def carried(base: dist.TorchDistribution, onto: Transform) -> dist.TorchDistribution:
    """A family's distribution carried through a transform, whatever library it comes from."""
    if isinstance(base, ZukoToPyro):
        return ZukoToPyro(TransformedDistribution(base.dist, [onto]))
    return dist.TransformedDistribution(base, [onto])


Family = NormalFamily | FullRankFamily | FlowFamily
FAMILIES: dict[str, type[Family]] = {
    "normal": NormalFamily,
    "fullrank": FullRankFamily,
    "flow": FlowFamily,
}
