"""How a laplace guide's correction is learned, once model and first answer are what they are.

Its search does not change any more, so it is made once for the data and for a bank of
simulations; a step then costs a small network and, for the data, one decode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pyro import poutine
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.guide import log_prob_of
from groundvae.guides.phase import SLEEP, Fitting, Terms
from groundvae.guides.simulation import simulate

if TYPE_CHECKING:
    from groundvae.guides.laplace import LaplaceGuide

BANK = 20_000  # simulations at most
EACH = 2  # simulations a step, for each observation


class CalibrationLoss:
    """What is left of the loss for a guide alone: ``-ELBO + weight * hybrid_simulation``.

    Simulations reward a posterior as wide as the model's own uncertainty; the ELBO, one that is
    too narrow. But simulations, drawn from priors, are harder and more various than data, and a
    correction that saw nothing else is now and then far off on data. Where the loss has no
    simulations the ELBO stands alone.

    Args:
        fitting: the model as it was fitted, and the data.
        guide: whose first answer is learned.
        seen: how many observations all steps together will see; a bank need not be larger.

    """

    def __init__(self, fitting: Fitting, guide: LaplaceGuide, seen: int) -> None:
        self.model, self.guide, self.train = fitting.model, guide, fitting.train
        self.known = guide.approximation(fitting.train)
        self.weight = None
        if seen and fitting.objective.sleeps(fitting.model, guide):
            self.weight = fitting.objective.sleep_weight()
            bank = simulate(self.model, self.train, min(BANK, EACH * seen), guide.population)
            self.truth, self.bank = guide.flat(bank.latents), guide.approximation(bank.full)

    def __call__(self, batch: Batch, kl_weight: float) -> Terms:
        """The terms of one step; ``batch`` says only of how many observations."""
        rows = torch.randint(len(self.train), (len(batch),), device=batch.x.device)
        elbo = self._elbo(rows)
        if self.weight is None:
            return {"elbo": elbo, "loss": -elbo}
        rows = torch.randint(len(self.truth), (EACH * len(batch),), device=batch.x.device)
        simulated = -self.guide.corrected(self.bank[rows]).log_prob(self.truth[rows]).mean()
        return {"elbo": elbo, SLEEP: simulated, "loss": simulated - elbo / self.weight}

    def _elbo(self, rows: Tensor) -> Tensor:
        batch = self.train[rows]
        told = poutine.trace(self.guide).get_trace(batch, self.known[rows])
        seen = poutine.trace(poutine.replay(self.model, trace=told)).get_trace(batch, reduced=False)
        return (log_prob_of(seen, batch) - log_prob_of(told, batch)).mean()
