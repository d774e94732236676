"""The guide of hyperparameters: what all observations together say of a hierarchical prior."""

from __future__ import annotations

from collections.abc import Mapping

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import biject_to

from groundvae.data.batch import Batch

DRAWS = 1000  # of a prior, from which a fresh guide takes its place and size


class Population(nn.Module):
    """Independent normals in unconstrained space, one for each hyperparameter.

    They start as wide as their priors. Without hyperparameters this is empty, and has no
    parameters. ``size`` is the number of observations that share them.
    """

    size: Tensor
    centre: nn.Parameter
    log_scale: nn.Parameter

    def __init__(self, hyper: Mapping[str, TorchDistribution]) -> None:
        super().__init__()
        self.hyper = dict(hyper)
        if not self.hyper:
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            drawn = [
                biject_to(p.support).inv(p.sample(torch.Size([DRAWS]))) for p in hyper.values()
            ]
        unconstrained = torch.stack(drawn)
        self.register_buffer("size", torch.tensor(1.0))
        self.centre = nn.Parameter(unconstrained.median(1).values)
        self.log_scale = nn.Parameter(unconstrained.std(1).log())

    def prepare(self, batch: Batch) -> None:
        """Take the number of the observations that are fitted."""
        if self.hyper:
            self.size = torch.tensor(float(len(batch))).to(self.centre)

    def forward(self) -> None:
        """Sample every hyperparameter at a site of its own name, outside all observations."""
        for i, (name, prior) in enumerate(self.hyper.items()):
            normal = dist.Normal(self.centre[i], self.log_scale[i].exp())
            free = pyro.sample(f"{name}_unconstrained", normal, infer={"is_auxiliary": True})
            bijector = biject_to(prior.support)
            value = bijector(free)
            density = -bijector.log_abs_det_jacobian(free, value)
            pyro.sample(name, dist.Delta(value, log_density=density))

    def centres(self) -> dict[str, Tensor]:
        """The median of each hyperparameter by name, without gradient."""
        with torch.no_grad():
            return {
                name: biject_to(prior.support)(self.centre[i].detach())
                for i, (name, prior) in enumerate(self.hyper.items())
            }

    def draw(self, shape: torch.Size) -> dict[str, Tensor]:
        """Draws by name, each of ``shape``, without gradient."""
        found = {}
        with torch.no_grad():
            for i, (name, prior) in enumerate(self.hyper.items()):
                noise = torch.randn(shape, dtype=self.centre.dtype, device=self.centre.device)
                free = self.centre[i] + self.log_scale[i].exp() * noise
                found[name] = biject_to(prior.support)(free)
        return found
