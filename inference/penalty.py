"""The method's regularizers, as small objects: each maps a Step to one number.

Each is the mean over the observations of a batch of a sum over their samples. Your own penalty
is any callable of a Step with ``applies(model, guide)``.
Source: Takeishi & Kalousis (2021), sections 3.1 to 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import pyro
import torch
from pyro import poutine
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.guide import UNMIXED, Guide
from groundvae.guides.simulation import Simulation, Simulator
from groundvae.models.greybox import Decoded, GreyBox, returned, site_value
from groundvae.models.registry import Registry


@dataclass
class Step:
    """One guide pass and one decode, from which the ELBO and all penalties are read.

    Each is made when it is first asked for: a penalty of simulations alone needs neither.
    """

    model: GreyBox
    guide: Guide
    batch: Batch
    simulator: Simulator
    reduced: bool = True  # whether the decode includes that of physics alone
    found: object = None  # what the guide has found when it examined the batch, where at hand

    @cached_property
    def guide_trace(self) -> poutine.Trace:
        known = () if self.found is None else (self.found,)
        return poutine.trace(self.guide).get_trace(self.batch, *known)

    @cached_property
    def model_trace(self) -> poutine.Trace:
        replayed = poutine.replay(self.model, trace=self.guide_trace)
        return poutine.trace(replayed).get_trace(self.batch, reduced=self.reduced)

    @property
    def decoded(self) -> Decoded:
        return returned(self.model_trace)

    @property
    def unmixed(self) -> Tensor:
        """What the guide left of the observation, canonical, (observation, canonical)."""
        return site_value(self.guide_trace, UNMIXED)

    @cached_property
    def simulation(self) -> Simulation:
        """As many draws from the model's prior as the batch has observations, no gradient."""
        return self.simulator.draw(self.batch)


class Penalty(Protocol):
    """A named, weighted term of the loss."""

    def applies(self, model: GreyBox, guide: Guide) -> bool: ...

    def __call__(self, step: Step) -> Tensor: ...


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """Squared error summed over an observation, mean over observations."""
    return (a - b).pow(2).reshape(len(a), -1).sum(-1).mean()


@dataclass(frozen=True)
class PPC:
    """R_PPC: keeps the full model close to the reduced one (section 3.1, eq. 9).

    With residuals in the dynamics (A) and on the observation (B):
    ``1/4 (|x_A - x_P|^2 + |x_B - x_P|^2 + |x_AB - x_A|^2 + |x_AB - x_B|^2)``; with one
    residual ``|x_full - x_P|^2``. Divided by ``2 sigma^2`` where ``by_noise`` (then in nats).
    """

    by_noise: bool = False

    def applies(self, model: GreyBox, guide: Guide) -> bool:
        return model.grey

    def __call__(self, step: Step) -> Tensor:
        decoded = step.decoded
        assert decoded.physics is not None
        if decoded.partial:
            between = list(decoded.partial.values())
            pairs = [(x, y) for x in between for y in (decoded.physics, decoded.full)]
            total = torch.stack([_squared(x, y) for x, y in pairs]).mean()
        else:
            total = _squared(decoded.full, decoded.physics)
        return total / (2 * step.model.noise.scale.detach() ** 2) if self.by_noise else total


@dataclass(frozen=True)
class Unmix:
    """R_DA1: what is left after unmixing should be the physics, ``|unmix(x, z_A) - sg(x_P)|^2``.

    Section 3.2, eq. 10; compared as the encoder reads it, back in the units of the data.
    """

    def applies(self, model: GreyBox, guide: Guide) -> bool:
        return model.grey and "unmixed" in guide.offers

    def __call__(self, step: Step) -> Tensor:
        assert step.decoded.physics is not None
        encoder = step.guide.encoder
        target = encoder.read(step.batch.with_x(step.decoded.physics.detach()))
        return encoder.spread**2 * _squared(step.unmixed, target)


@dataclass(frozen=True)
class PhysicsSimulation:
    """R_DA2 in its proper form: ``-log q(z_P* | x_P*)``, z_P* from the prior (section 3.2)."""

    def applies(self, model: GreyBox, guide: Guide) -> bool:
        return model.system.physics and "physics_factor" in guide.offers

    def __call__(self, step: Step) -> Tensor:
        factor, target = _simulated_factor(step)
        return -factor.log_prob(target).mean()


@dataclass(frozen=True)
class PhysicsSimulationMean:
    """R_DA2 as the paper has it: squared error of the posterior's mean, in the latents' units.

    Of an angle, the short way round.
    """

    applies = PhysicsSimulation.applies

    def __call__(self, step: Step) -> Tensor:
        factor, _ = _simulated_factor(step)
        means, _ = step.guide.latents.constrain(factor.mean)
        truth, latents = step.simulation.latents, step.guide.latents
        off = [z.difference(means[z.name], truth[z.name]) for z in latents]
        return torch.stack([each.pow(2).mean() for each in off]).sum()


def _simulated_factor(step: Step) -> tuple[pyro.distributions.TorchDistribution, Tensor]:
    simulation = step.simulation
    assert simulation.physics is not None
    factor = step.guide.physics_factor(simulation.physics)
    assert factor is not None
    return factor, step.guide.latents.unconstrain(simulation.latents)


@dataclass(frozen=True)
class HybridSimulation:
    """``-log q(z* | x*)`` with z*, x* drawn from the fitted hybrid itself.

    The guide sees as many observations as it likes, with known latents: the sleep phase of
    wake-sleep, a forward KL, which does not reward narrow posteriors as the ELBO does.
    Source: Hinton et al. (1995); Bornschein & Bengio (2015), reweighted wake-sleep.
    """

    def applies(self, model: GreyBox, guide: Guide) -> bool:
        return bool(model.latent_names)

    def __call__(self, step: Step) -> Tensor:
        simulation = step.simulation
        return -step.guide.log_prob(simulation.full, simulation.latents).mean()


PENALTIES: Registry[Penalty] = Registry("penalty", "groundvae.penalties")
PENALTIES.register("ppc")(PPC(by_noise=True))
PENALTIES.register("unmix")(Unmix())
PENALTIES.register("physics_simulation")(PhysicsSimulation())
PENALTIES.register("hybrid_simulation")(HybridSimulation())
