"""Draws from a model's prior: latents, observations and what physics alone gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from pyro import poutine
from torch import Tensor, nn

from groundvae.data.batch import Batch
from groundvae.guides.population import Population
from groundvae.guides.state import State, copied, joined, part, random_state, set_random_state
from groundvae.models.greybox import OBSERVATION, GreyBox, returned, site_value
from groundvae.physics.errors import NonFiniteError, tolerant


@dataclass(frozen=True)
class Simulation:
    """Latents from the prior, the noisy observations they give, and those of physics alone."""

    latents: dict[str, Tensor]
    full: Batch
    physics: Batch | None

    def __getitem__(self, rows: slice | Tensor) -> Simulation:
        latents = {name: value[rows] for name, value in self.latents.items()}
        physics = None if self.physics is None else self.physics[rows]
        return Simulation(latents, self.full[rows], physics)


@torch.no_grad()
def simulate(
    model: GreyBox, like: Batch, n: int, population: Population | None = None
) -> Simulation:
    """``n`` draws of the whole generative model at the inputs (and gaps) of ``like``.

    Hyperparameters are drawn anew for each: from ``population``, what is known of them by now,
    or from their priors.
    """
    rows = torch.randint(len(like), (n,))
    template = like[rows]
    hyper = hyperparameters(model, n, population)
    world = poutine.condition(poutine.uncondition(model), data=hyper)
    with tolerant():
        trace = poutine.trace(world).get_trace(template)
    decoded = returned(trace)
    latents = {name: site_value(trace, name) for name in model.latent_names}
    x = site_value(trace, OBSERVATION)
    physics = None
    if decoded.physics is not None:
        noisy = model.noise.given(template).sample(decoded.physics, times=template.inputs.get("t"))
        physics = template.with_x(noisy)
    drawn = Simulation(latents, replace(template, x=x, censored=None), physics)
    good = torch.isfinite(x).flatten(1).all(1)
    if bool(good.all()):
        return drawn
    if not bool(good.any()):
        raise NonFiniteError("no draw of the priors has a finite solution, expected narrower ones")
    # A prior may allow what no path is finite under: such draws are replaced by others.
    rows = torch.arange(n, device=good.device)
    spare = good.nonzero().squeeze(-1)
    return drawn[
        torch.where(good, rows, spare[torch.randint(len(spare), (n,), device=good.device)])
    ]


def hyperparameters(
    model: GreyBox, n: int, population: Population | None = None
) -> dict[str, Tensor]:
    """``n`` draws (n,) of each hyperparameter, from ``population`` or from their priors."""
    if population is not None:
        return population.draw(torch.Size([n]))
    zero = model.noise.log_scale.detach()
    return {k: v.sample(torch.Size([n])).to(zero) for k, v in model.latents.hyper.items()}


class Simulator:
    """Serves small simulations cut from a large one, drawn anew when it is used up.

    A solve costs about the same for ten thousand series as for two hundred, so ``ahead``
    batches are drawn at once; the oldest is then that many training steps behind the model.
    """

    def __init__(
        self, model: GreyBox, ahead: int = 20, population: Population | None = None
    ) -> None:
        self.model, self.population = model, population
        self.ahead = ahead
        self._drawn: list[Simulation] = []
        self._served = 0
        self._origin: State = {}

    def draw(self, like: Batch) -> Simulation:
        """As many simulations as ``like`` has observations."""
        waiting = self._served < len(self._drawn)
        if not waiting or len(self._drawn[self._served].full) != len(like):
            self._origin = joined(
                learned=copied(self._learned().state_dict()),
                random=random_state(),
                like=like.tensors(),
            )
            self._simulate(like)
        self._served += 1
        return self._drawn[self._served - 1]

    def state(self) -> State:
        """From what the simulations were drawn, and how many were served.

        They are drawn again from that, to the last bit: they would take more room than all else.
        """
        return self._origin | {"served": torch.tensor(self._served)}

    def restore(self, state: State, template: Batch) -> None:
        """Go on from a ``state``; ``template`` is any batch of the data."""
        self._origin = {name: value for name, value in state.items() if name != "served"}
        if not self._origin:
            return
        now, random = copied(self._learned().state_dict()), random_state()
        self._learned().load_state_dict(part(self._origin, "learned"))
        set_random_state(part(self._origin, "random"))
        self._simulate(template.with_tensors(part(self._origin, "like")))
        self._served = int(state["served"])
        self._learned().load_state_dict(now)
        set_random_state(random)

    def _simulate(self, like: Batch) -> None:
        n = len(like)
        many = simulate(self.model, like, self.ahead * n, self.population)
        self._drawn = [many[i * n : (i + 1) * n] for i in range(self.ahead)]
        self._served = 0

    def _learned(self) -> nn.ModuleList:
        """All that simulations are drawn by."""
        return nn.ModuleList([self.model, *([self.population] if self.population else [])])
