"""The Context: one run on one data set, with what the checks need of it.

This is the only file of the diagnostics that knows how a run and its model are made.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar, cast

import numpy as np
import pyro.distributions as dist
import torch
import xarray as xr
from scipy.stats import norm
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.root import STAND_IN
from groundvae.diagnostics.latents import KnownLatent, is_auxiliary, known_latents, scalar_latents
from groundvae.diagnostics.selftest import SelfTest, simulate_posterior
from groundvae.guides.follow import parts_of
from groundvae.inference import arviz as az
from groundvae.inference.inferencedata import WEIGHTS
from groundvae.inference.observed import observations_of
from groundvae.inference.run import Run
from groundvae.models.circle import cut_open
from groundvae.models.dynamics import Dynamics
from groundvae.models.greybox import AUXILIARY, Decoded, GreyBox
from groundvae.models.latent import LatentSpec
from groundvae.models.narrowed import declared
from groundvae.models.values import Values
from groundvae.physics.errors import tolerant

PRIOR_DRAWS = 20_000
SIMULATIONS = 200  # of the self-test: enough to see a width that is off by a half
DECODED = 20  # draws of each latent whose ablations are averaged
CHUNK = 100  # observations decoded at once

T = TypeVar("T")


@dataclass
class Context:
    """What is diagnosed: a run and its posterior of some observations.

    ``reference`` is another posterior, by MCMC, of some of the same observations; its coordinate
    ``observation`` says which. ``looked_at`` is the latent of a check against truth, ``against``
    another run of the same physics to compare with, ``show`` positions of observations to draw.
    """

    run: Run
    inference_data: az.InferenceData
    reference: az.InferenceData | None = None
    looked_at: KnownLatent | None = None
    against: Run | None = None
    show: Sequence[int] = ()
    found: dict[Callable[[Context], Any], Any] = field(default_factory=dict)

    def once(self, compute: Callable[[Context], T]) -> T:
        """What ``compute`` gives of this context, for all checks that ask for it."""
        if compute not in self.found:
            self.found[compute] = compute(self)
        found: T = self.found[compute]
        return found

    def of(self, latent: KnownLatent) -> Context:
        """The same, looked at for one latent."""
        one = copy.copy(self)  # with what was computed already
        one.looked_at = latent
        return one

    @property
    def latent(self) -> KnownLatent:
        """The one that is looked at."""
        assert self.looked_at is not None
        return self.looked_at

    @property
    def x(self) -> np.ndarray:
        """What was observed, (observation, *event); NaN is missing."""
        return np.asarray(self.inference_data["observed_data"]["x"].values)

    @property
    def weighted(self) -> bool:
        """Whether the draws carry importance weights that mean something.

        Those of NUTS have none, and where a noise is trusted for widths alone, the guide answers
        another question than the model's own density.
        """
        data, noise = self.inference_data, self.run.model.noise
        if noise.working is not noise:
            return False
        return "sample_stats" in data and "log_weight" in data["sample_stats"]

    @property
    def log_weight(self) -> xr.DataArray:
        """Log p(x, z) - log q(z | x), (chain, draw, observation)."""
        return self.inference_data["sample_stats"]["log_weight"]

    @property
    def quantity(self) -> str:
        """What the data are called."""
        return self.run.model.system.quantity

    @property
    def unit(self) -> str:
        """In what they are measured."""
        return self.run.model.system.unit

    @property
    def latents(self) -> LatentSpec:
        """The physics latents and their priors."""
        return self.run.model.latents

    @property
    def units(self) -> dict[str, str]:
        """Of the physics latents."""
        return {z.name: z.unit for z in self.latents}

    @property
    def grounded(self) -> bool:
        """Whether the model holds physics."""
        return self.run.model.system.physics

    @property
    def residual(self) -> bool:
        """Whether the model holds anything beside physics."""
        return bool(self.run.model.auxiliary)

    @property
    def more_room(self) -> str:
        """What to do where errors are not the noise's."""
        if self.run.model.terms:
            return "give the residual more room"
        return "give the model a residual"

    @property
    def better_guide(self) -> str:
        """What to do where the guide is wrong about the model."""
        if parts_of(self.run.model):  # fitted by evidence: nothing is trained
            return "check chosen observations by MCMC, fit more of them, or narrow the priors"
        return "train longer, with the hybrid_simulation penalty, or take a richer guide"

    @property
    def stand_in(self) -> str:
        """Whether it was ``fitted to`` or ``diagnosed on`` a stand-in for measured data, if so."""
        if STAND_IN in self.run.config.trained_on:
            return "fitted to"
        source = str(self.inference_data.attrs.get("source", ""))
        return "diagnosed on" if STAND_IN in source else ""

    @property
    def system(self) -> str:
        """The system's name."""
        return self.run.config.system

    @property
    def title(self) -> str:
        """Of the report."""
        config = self.run.config
        return f"{config.system}: {', '.join(filter(None, (config.variant, config.how.guide)))}"

    @cached_property
    def periods(self) -> Mapping[str, float]:
        """Periods of the physics latents that wrap."""
        return {z.name: z.period for z in self.latents if z.period is not None}

    @cached_property
    def draws(self) -> Mapping[str, np.ndarray]:
        """Draws (draw, observation) of every scalar latent, angles unwrapped."""
        return scalar_latents(self.inference_data["posterior"], self.periods)

    @cached_property
    def known(self) -> list[KnownLatent]:
        """The physics latents whose true values the data carry."""
        return list(known_latents(self.inference_data, self.periods))

    @cached_property
    def batch(self) -> Batch:
        """The observations, as the guide sees them."""
        return self.run.batch(observations_of(self.inference_data, self.run.model.system))

    @cached_property
    def prior_variance(self) -> Mapping[str, float]:
        """Variance of each scalar latent under its prior, from many draws.

        What all observations share is judged by its prior before they agreed.
        """
        found = dict.fromkeys(self.draws, 1.0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for latent in self.latents:
                drawn = declared(latent.prior)[0].sample(torch.Size([PRIOR_DRAWS, 1])).cpu().numpy()
                lifted = drawn if latent.period is None else cut_open(drawn, latent.period)
                found[latent.name] = float(lifted.var())
        return found

    @cached_property
    def bounds(self) -> Mapping[str, tuple[float, float]]:
        """Ends of the priors that are uniform; a full circle has none."""
        line = {z.name: z.prior for z in self.latents if z.period is None}
        uniform = {k: prior for k, prior in line.items() if isinstance(prior, dist.Uniform)}
        return {k: (float(prior.low), float(prior.high)) for k, prior in uniform.items()}

    @cached_property
    def log_prior(self) -> Mapping[str, np.ndarray]:
        """Log density of the draws under the prior, (draw, observation), by scalar latent."""
        found = {k: norm.logpdf(v) for k, v in self.draws.items() if is_auxiliary(k)}
        posterior = self.inference_data["posterior"]
        for latent in self.latents:
            values = torch.as_tensor(np.concatenate(posterior[latent.name].values))
            found[latent.name] = declared(latent.prior)[0].log_prob(values).cpu().numpy()
        return {name: found[name] for name in self.draws}

    @cached_property
    def self_test(self) -> SelfTest:
        """The guide's posterior of simulations of the fitted model."""
        run, periods = self.run, self.periods
        return simulate_posterior(run.model, run.guide, self.batch, SIMULATIONS, periods)

    @cached_property
    def means(self) -> Values:
        """Posterior means (observation,) of the physics latents."""
        means = self.inference_data["posterior"].mean(("chain", "draw"))
        return Values({k: torch.as_tensor(means[k].values) for k in self.latents.names}, "latent")

    @property
    def invariant(self) -> Callable[[Tensor], Tensor] | None:
        """What physics alone keeps (...), of states (..., state); None where none is known."""
        system = self.run.model.system
        return partial(system.energy, z=self.means) if system.keeps_energy else None

    @torch.no_grad()
    def paths(self) -> Tensor:
        """States (observation, time, state) of physics alone, from the posterior means."""
        system, lead = cast(Dynamics, self.run.model.system), torch.Size([len(self.batch)])
        return system.trajectory(self.means, Values(self.batch.inputs, "input"), (), lead, 1)[0]

    @property
    def ordered(self) -> tuple[str, ...]:
        """The axes along which samples have neighbours: those that have no names."""
        system = self.run.model.system
        return tuple(axis for axis in system.axes if axis not in system.labels)

    def drawn(self, count: int) -> dict[str, Tensor]:
        """The first draws (draw, observation, ...) of all that is decoded, as many of each."""
        drawn = {**self.inference_data["posterior"]}
        if WEIGHTS in self.inference_data:  # a wide z_aux stands by itself
            drawn |= {**self.inference_data[WEIGHTS]}
        found = {
            str(k): torch.as_tensor(np.concatenate(v.values)[:count]).to(self.batch.x)
            for k, v in drawn.items()
            if "observation" in v.dims  # hyperparameters are not decoded
        }
        fewest = min((len(v) for v in found.values()), default=0)
        return {k: v[:fewest] for k, v in found.items()}

    @torch.no_grad()
    def ablations(self) -> dict[str, np.ndarray]:
        """Posterior means (observation, *event) of physics alone, of what is between, and of all.

        Keys, from the least to the most: ``physics``, ``dynamics`` where there are two residuals,
        ``full``.
        """
        draws, chunks = self.drawn(DECODED), []
        for i in range(0, len(self.batch), CHUNK):
            batch = self.batch[i : i + CHUNK]
            part = {k: v[:, i : i + CHUNK].to(batch.x.device) for k, v in draws.items()}
            auxiliary = part.pop(AUXILIARY, None)
            chunks.append(_means(self.run.model.decode(part, auxiliary, batch.inputs)))
        return {k: np.concatenate([c[k] for c in chunks]) for k in chunks[0]}


def physics_alone(model: GreyBox, latents: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Noiseless observations (..., observation, *event) of latents (..., observation) alone."""
    size = model.auxiliary
    first = next(iter(latents.values()))
    auxiliary = first.new_zeros(*first.shape, size) if size else None
    with tolerant():
        alone = model.decode(latents, auxiliary, batch.inputs).physics
    assert alone is not None
    return alone


def _means(decoded: Decoded) -> dict[str, np.ndarray]:
    ablations: dict[str, Tensor] = {}
    if decoded.physics is not None:
        ablations["physics"] = decoded.physics
        if {"dynamics", "observation"} <= set(decoded.partial):
            ablations["dynamics"] = decoded.partial["dynamics"]
    return {k: v.mean(0).cpu().numpy() for k, v in (ablations | {"full": decoded.full}).items()}
