"""Generation: observations drawn from a fitted model, with some latents at chosen values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import torch
from pyro import poutine

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.inference.run import Run
from groundvae.models.greybox import OBSERVATION, returned, site_value
from groundvae.models.latent import Latent, describe_support


def generate(
    run: Run, n: int, seed: int, chosen: Mapping[str, float] | None = None
) -> tuple[Dataset, np.ndarray]:
    """``n`` observations with their physics latents, and the same without noise.

    Latents that are not ``chosen`` come from their priors.

    Raises:
        InputError: no such physics latent, or a value that its prior rules out.

    """
    own = _example(run)
    fixed = {name: _value(run, name, value, n) for name, value in (chosen or {}).items()}
    with torch.no_grad(), torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(seed)
        like = run.batch(own)
        like = like.with_x(like.x.new_zeros(n, *like.x.shape[1:]))
        world = poutine.condition(poutine.uncondition(run.model), data=fixed)
        trace = poutine.trace(world).get_trace(like)
    latents = {name: site_value(trace, name).numpy() for name in run.model.latents.names}
    noisy = site_value(trace, OBSERVATION).numpy()
    return Dataset(noisy, own.coordinates, latents), returned(trace).full.numpy()


def _example(run: Run) -> Dataset:
    """One observation of the system, for its times or places."""
    simulate = run.entry.source.simulate
    if simulate is None:
        raise InputError(f"{run.entry.name} has no simulator to say at what times to generate")
    return simulate(1, 0)


def _value(run: Run, name: str, value: float, n: int) -> torch.Tensor:
    known: dict[str, Latent] = {z.name: z for z in run.model.latents}
    if name not in known:
        names = ", ".join(known) or "none"
        raise InputError(f"no physics latent {name!r} to set, known: {names}")
    wrapped = known[name].wrapped(torch.tensor(value))
    support = known[name].prior.support
    if support is None or not bool(support.check(wrapped)):
        allowed = describe_support(support)
        raise InputError(f"{name} is set to {value:g}, expected {allowed} (its prior)")
    return wrapped.expand(n)
