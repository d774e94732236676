"""Draws from a model's prior: latents, observations and what physics alone gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from pyro import poutine
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.models.greybox import OBSERVATION, GreyBox, returned, site_value


@dataclass(frozen=True)
class Simulation:
    """Latents from the prior, the noisy observations they give, and those of physics alone."""

    latents: dict[str, Tensor]
    full: Batch
    physics: Batch | None

    def __getitem__(self, rows: slice) -> Simulation:
        latents = {name: value[rows] for name, value in self.latents.items()}
        physics = None if self.physics is None else self.physics[rows]
        return Simulation(latents, self.full[rows], physics)


@torch.no_grad()
def simulate(model: GreyBox, like: Batch, n: int) -> Simulation:
    """``n`` draws of the whole generative model at the inputs (and gaps) of ``like``."""
    rows = torch.randint(len(like), (n,))
    template = like[rows]
    trace = poutine.trace(poutine.uncondition(model)).get_trace(template)
    decoded = returned(trace)
    latents = {name: site_value(trace, name) for name in model.latent_names}
    x = site_value(trace, OBSERVATION)
    physics = None
    if decoded.physics is not None:
        noise = model.noise(decoded.physics, event_dim=model.system.event_dim)
        physics = template.with_x(noise.sample())
    full = Batch(x, template.inputs, template.observed)
    return Simulation(latents, full, physics)


class Simulator:
    """Serves small simulations cut from a large one, drawn anew when it is used up.

    A solve costs about the same for ten thousand series as for two hundred, so ``ahead``
    batches are drawn at once; the oldest is then that many training steps behind the model.
    """

    def __init__(self, model: GreyBox, ahead: int = 20) -> None:
        self.model = model
        self.ahead = ahead
        self._waiting: Iterator[Simulation] = iter(())

    def draw(self, like: Batch) -> Simulation:
        """As many simulations as ``like`` has observations."""
        simulation = next(self._waiting, None)
        if simulation is None or len(simulation.full) != len(like):
            n = len(like)
            many = simulate(self.model, like, self.ahead * n)
            self._waiting = iter([many[i * n : (i + 1) * n] for i in range(self.ahead)])
            simulation = next(self._waiting)
        return simulation
