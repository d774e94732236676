"""How a laplace guide's correction is learned, once model and first answer are what they are.

Its search does not change any more, so it is made once for the data and for a bank of
simulations; a step then costs a small network and, for the data, one decode.
"""

from __future__ import annotations

import torch
from pyro import poutine
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.guides.guide import Guide, log_prob_of
from groundvae.guides.laplace import LaplaceGuide
from groundvae.inference.elbo import SLEEP, RegularizedELBO
from groundvae.inference.simulation import simulate
from groundvae.models.greybox import GreyBox

BANK = 20_000  # simulations at most
EACH = 2  # simulations a step, for each observation


class CalibrationLoss:
    """What is left of the loss for a guide alone: ``-ELBO + weight * hybrid_simulation``.

    Simulations reward a posterior as wide as the model's own uncertainty; the ELBO, one that is
    too narrow. But simulations, drawn from priors, are harder and more various than data, and a
    correction that saw nothing else is now and then far off on data. Where the loss has no
    simulations the ELBO stands alone.

    Args:
        model: as it was fitted, with its latents' priors.
        guide: whose first answer is learned.
        loss: that of the fit; takes the record of every step.
        train: the data, whole.
        seen: how many observations all steps together will see; a bank need not be larger.

    """

    def __init__(
        self, model: GreyBox, guide: LaplaceGuide, loss: RegularizedELBO, train: Batch, seen: int
    ) -> None:
        self.guide, self.loss, self.simulated = guide, loss, loss.sleeps(model, guide)
        self.train, self.known = train, guide.approximation(train)
        if self.simulated:
            bank = simulate(model, train, min(BANK, EACH * seen), guide.population)
            self.truth, self.bank = guide.flat(bank.latents), guide.approximation(bank.full)

    def __call__(self, model: GreyBox, guide: Guide, batch: Batch) -> Tensor:
        """The loss of one step; ``batch`` says only of how many observations."""
        rows = torch.randint(len(self.train), (len(batch),), device=batch.x.device)
        missed = -self._elbo(model, rows)
        self.loss.record = {"elbo": -float(missed.detach())}
        if not self.simulated:
            return missed
        rows = torch.randint(len(self.truth), (EACH * len(batch),), device=batch.x.device)
        simulated = -self.guide.corrected(self.bank[rows]).log_prob(self.truth[rows]).mean()
        self.loss.record[SLEEP] = float(simulated.detach())
        return simulated + missed / self.loss.weights[SLEEP]

    def _elbo(self, model: GreyBox, rows: Tensor) -> Tensor:
        batch = self.train[rows]
        told = poutine.trace(self.guide).get_trace(batch, self.known[rows])
        seen = poutine.trace(poutine.replay(model, trace=told)).get_trace(batch, reduced=False)
        return (log_prob_of(seen, batch) - log_prob_of(told, batch)).mean()
