"""MCMC on the same Pyro program: the exact posterior of a few observations, to any accuracy.

The model is the fitted one and stays as it is; only the latents of the given observations are
sampled. Chains start about the modes that lie near the guide's draws, and move in coordinates in
which the heaviest of them is a standard normal. Source: Hoffman & Gelman (2014), The No-U-Turn
sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import pyro
import torch
import xarray as xr
from pyro import poutine
from pyro.infer import MCMC, NUTS
from torch import Tensor

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides.guide import log_prob_of
from groundvae.guides.simulation import simulate
from groundvae.inference import arviz as az
from groundvae.inference.coordinates import find_coordinates, log_joint
from groundvae.inference.inferencedata import to_inference_data
from groundvae.inference.posterior import reference_marks
from groundvae.inference.prediction import predict
from groundvae.inference.run import Run
from groundvae.inference.walking import walk_chains
from groundvae.models.circle import cut_open
from groundvae.models.greybox import OBSERVATION
from groundvae.physics.errors import NonFiniteError

POINT = "point"
WALKING = 100  # observations that walk together

Report = Callable[[int, int], None]
"""Takes a step of some observations, from 1, and how many there will be."""


@dataclass(frozen=True)
class NutsOptions:
    """How long to sample."""

    chains: int = 4
    """Chains, which start about modes near the guide's draws."""
    draws: int = 500
    """Draws kept of each chain."""
    warmup: int = 300
    """Draws before them, in which the step size and the scales are found; few of a walk."""
    predictive_draws: int = 100
    """Draws of all chains together that are decoded."""
    together: int = 1
    """Observations that move as one: cheaper a step, but the hardest of them sets its size."""
    depth: int = 8
    """Largest depth of a trajectory's tree: it has at most 2**depth steps."""
    seed: int = 0
    """Of starts and draws."""

    def __post_init__(self) -> None:
        for name in ("chains", "draws", "warmup", "predictive_draws", "together", "depth"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of NUTS is {getattr(self, name)}, expected 1 or more")


def nuts(
    run: Run,
    data: Dataset,
    options: NutsOptions | None = None,
    report: Report | None = None,
    *,
    scored_by: Run | None = None,
) -> az.InferenceData:
    """The posterior of every observation of ``data`` under the fitted model, by NUTS.

    A guide of modes is nearly right: its chains walk in its own coordinates (``walking.py``), with
    nothing to adapt and no gradients, seconds for one series and minutes for a hundred. NUTS
    takes minutes for a handful of observations; the run is left as it is. In double precision.
    Hyperparameters of hierarchical priors stay at the centre of what the fit found. ``judge``
    as in ``posterior``.

    Returns:
        The groups of ``posterior.posterior`` with ``options.chains`` chains; ``sample_stats``
        holds ``lp`` = log p(x, z) (chain, draw, observation) and ``diverging`` (likewise);
        ``convergence`` holds ``r_hat``, ``ess_bulk`` and ``ess_tail`` (latent, observation),
        of a vector's worst component.

    Raises:
        InputError: a model without latents.
        NonFiniteError: the model is not finite where the guide starts the chains.

    """
    options = options or NutsOptions()
    exact = _double(run)
    if not exact.model.latent_names:
        raise InputError(f"{run.config.variant} has no latents to sample, expected some for NUTS")
    batch = Batch.of(data, dtype=torch.float64)
    with torch.random.fork_rng(), pyro.validation_enabled(False):
        pyro.set_rng_seed(options.seed % 2**32)  # numpy knows no larger ones
        walks = exact.guide.walks and not exact.model.latents.hyper
        size, sample = (WALKING, _walk) if walks else (options.together, _sample)
        parts = [
            sample(exact, batch[i : i + size], options, report) for i in range(0, len(batch), size)
        ]
        groups = {
            group: {name: torch.cat([p[group][name] for p in parts], dim=1) for name in names}
            for group, names in parts[0].items()
        }
        prior = simulate(exact.model, batch, options.predictive_draws)
    groups["prior"] = prior.latents
    groups["prior_predictive"] = {OBSERVATION: prior.full.x}
    marks = reference_marks(scored_by or run, (scored_by or run).batch(data))
    result = to_inference_data(exact, data, groups, batch.inputs, marks, chains=options.chains)
    az.put_group(result, "convergence", compute_convergence(result["posterior"]))
    return result


def _double(run: Run) -> Run:
    """A copy of the run in double precision, on the processor, that learns nothing."""
    model, guide = deepcopy(run.model).double().cpu(), deepcopy(run.guide).double().cpu()
    for parameter in [*model.parameters(), *guide.parameters()]:
        parameter.requires_grad_(False)
    return replace(run, model=model, guide=guide)


def _walk(
    run: Run, batch: Batch, options: NutsOptions, report: Report | None
) -> dict[str, dict[str, Tensor]]:
    """The groups of ``_sample``, by walking."""
    found = walk_chains(run, batch, options.chains, options.draws, options.warmup, report)
    stats = {"lp": found.lp, "diverging": torch.zeros_like(found.lp, dtype=torch.bool)}
    some = _some(found.latents, options)
    prediction = predict(run, batch, batch, some)
    return {"posterior": found.latents, **prediction.groups, "sample_stats": stats}


def _some(latents: Mapping[str, Tensor], options: NutsOptions) -> dict[str, Tensor]:
    """Those of all chains' draws that are decoded."""
    every = max(1, options.chains * options.draws // options.predictive_draws)
    return {k: v[::every] for k, v in latents.items()}


def _sample(
    run: Run, batch: Batch, options: NutsOptions, report: Report | None
) -> dict[str, dict[str, Tensor]]:
    """All groups of a few observations, each array (chain * draw, observation, ...)."""
    hyper = run.guide.population.centres()
    coordinates, start = find_coordinates(run, batch, hyper, options.chains)

    def density(point: Tensor) -> Tensor:
        """Log density (chain, observation) of points (chain, observation, latent)."""
        latents, log_det = coordinates.latents(point)
        world = poutine.condition(run.model, data=latents | hyper)
        with pyro.plate("chain", options.chains, dim=-2):
            trace = poutine.trace(world).get_trace(batch, reduced=False)
        return log_prob_of(trace, batch) + log_det

    points, diverging = _chains(density, start, options, report)
    with torch.no_grad():
        latents, _ = coordinates.latents(points)
        joint = log_joint(run, batch, latents, hyper)
        prediction = predict(run, batch, batch, _some(latents, options) | hyper)
    flags = diverging.repeat(options.chains)[:, None].expand(-1, len(batch))
    stats = {"lp": joint, "diverging": flags}
    return {"posterior": latents, **prediction.groups, "sample_stats": stats}


def _chains(
    density: Callable[[Tensor], Tensor],
    start: Tensor,
    options: NutsOptions,
    report: Report | None,
) -> tuple[Tensor, Tensor]:
    """Points (chain * draw, observation, latent), and which draws diverged (draw,).

    All chains move as one, with one step size and one length of trajectory: a solve costs about
    the same for all of them as for one.
    """
    finite = torch.isfinite(density(start)).all(-1)
    if not finite.all():
        chain = int((~finite).nonzero()[0]) + 1
        raise NonFiniteError(f"the model is not finite where chain {chain} of NUTS starts")

    def potential(parameters: Mapping[str, Tensor]) -> Tensor:
        try:
            return -density(parameters[POINT]).sum()
        except NonFiniteError:  # a trajectory that ran away: no such step is taken
            return parameters[POINT].sum() * torch.nan

    kernel = NUTS(potential_fn=potential, step_size=0.3, max_tree_depth=options.depth)
    step = 0
    bad = torch.zeros(options.draws, dtype=torch.bool)

    def told(kernel: NUTS, _: object, stage: str, __: int) -> None:
        nonlocal step
        step += 1
        if stage.startswith("Sample"):
            bad[[i for i in kernel.diagnostics()["divergences"] if i >= 0]] = True
        if report is not None:
            report(step, options.warmup + options.draws)

    sampler = MCMC(
        kernel,
        num_samples=options.draws,
        warmup_steps=options.warmup,
        initial_params={POINT: start},
        hook_fn=told,
        disable_progbar=True,
    )
    sampler.run()
    return sampler.get_samples()[POINT].transpose(0, 1).flatten(0, 1), bad


def compute_convergence(posterior: xr.Dataset) -> xr.Dataset:
    """R-hat, bulk and tail effective size of each latent of each observation.

    Of a vector, its worst component; of an angle that wraps (attribute ``period``), on the line
    that is cut opposite to its mean direction. Below 1.01 and above 400 are good.
    Source: Vehtari et al. (2021), Rank-normalization, folding, and localization.
    """
    posterior = posterior.map(_lifted, keep_attrs=True)
    found = {
        "r_hat": _each(az.rhat(posterior), np.fmax),
        "ess_bulk": _each(az.ess(posterior, method="bulk"), np.fmin),
        "ess_tail": _each(az.ess(posterior, method="tail"), np.fmin),
    }
    coords = {"latent": list(posterior.data_vars), "observation": posterior["observation"]}
    return xr.Dataset({k: (("latent", "observation"), v) for k, v in found.items()}, coords)


def _lifted(variable: xr.DataArray) -> xr.DataArray:
    period = variable.attrs.get("period")
    if period is None:
        return variable
    return cut_open(variable, period, ("chain", "draw"))


def _each(statistic: xr.Dataset, worst: np.ufunc) -> np.ndarray:
    rows = [
        worst.reduce(v.transpose("observation", ...).values.reshape(v.sizes["observation"], -1), 1)
        for v in statistic.data_vars.values()
    ]
    return np.stack(rows)
