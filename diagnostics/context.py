"""The Context: one run on one data set, with what several diagnostics need of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import arviz as az
import numpy as np
import pyro.distributions as dist
import torch
from scipy.stats import norm

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.diagnostics.calibration import SelfTest, simulate_posterior
from groundvae.diagnostics.latents import is_auxiliary, scalar_latents
from groundvae.diagnostics.score import unwrap
from groundvae.inference.run import Run

PRIOR_DRAWS = 20_000
SIMULATIONS = 1000  # of the self-test


@dataclass
class Context:
    """What is diagnosed: a run and its posterior of some observations.

    ``reference`` is another posterior, by MCMC, of some of the same observations; its coordinate
    ``observation`` says which.
    """

    run: Run
    inference_data: az.InferenceData
    reference: az.InferenceData | None = None

    @property
    def observations(self) -> int:
        return int(self.inference_data["observed_data"].sizes["observation"])

    @cached_property
    def periods(self) -> Mapping[str, float]:
        """Periods of the physics latents that wrap."""
        latents = self.run.model.latents
        return {z.name: z.period for z in latents if z.period is not None}

    @cached_property
    def draws(self) -> Mapping[str, np.ndarray]:
        """Draws (draw, observation) of every scalar latent, angles unwrapped."""
        return scalar_latents(self.inference_data["posterior"], self.periods)

    @cached_property
    def batch(self) -> Batch:
        """The observations, as the guide sees them."""
        observed = self.inference_data["observed_data"]
        known = {
            array: np.array(observed[axis].values)
            for array, axis in self.run.entry.coordinates.items()
            if axis in observed.coords
        }
        device = str(next(self.run.model.parameters()).device)
        return Batch.of(Dataset(np.array(observed["x"].values), known), device=device)

    @cached_property
    def prior_variance(self) -> Mapping[str, float]:
        """Variance of each scalar latent under its prior, from many draws."""
        found = dict.fromkeys(self.draws, 1.0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for latent in self.run.model.latents:
                drawn = latent.prior.sample(torch.Size([PRIOR_DRAWS, 1])).cpu().numpy()
                found[latent.name] = float(unwrap(drawn, drawn[0], latent.period)[0].var())
        return found

    @cached_property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        """Ends of the priors that are uniform; a full circle has none."""
        latents = self.run.model.latents
        uniform = [z for z in latents if isinstance(z.prior, dist.Uniform) and z.period is None]
        return {z.name: (float(z.prior.low), float(z.prior.high)) for z in uniform}

    @cached_property
    def log_prior(self) -> Mapping[str, np.ndarray]:
        """Log density of the draws under the prior, (draw, observation), by scalar latent."""
        found = {k: norm.logpdf(v) for k, v in self.draws.items() if is_auxiliary(k)}
        posterior = self.inference_data["posterior"]
        for latent in self.run.model.latents:
            values = torch.as_tensor(np.concatenate(posterior[latent.name].values))
            found[latent.name] = latent.prior.log_prob(values).cpu().numpy()
        return {name: found[name] for name in self.draws}

    @cached_property
    def self_test(self) -> SelfTest:
        """The guide's posterior of simulations of the fitted model."""
        return simulate_posterior(
            self.run.model,
            self.run.guide,
            self.batch,
            simulations=SIMULATIONS,
            periods=self.periods,
        )
