"""The prior predictive: what a model expects before it sees data, fitted or not."""

from __future__ import annotations

import pyro
import torch

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides.simulation import simulate
from groundvae.inference import arviz as az
from groundvae.inference.inferencedata import to_inference_data
from groundvae.inference.run import Run
from groundvae.models.greybox import OBSERVATION


def prior_predictive(
    run: Run, data: Dataset, *, draws: int = 500, seed: int = 0
) -> az.InferenceData:
    """Draws from the priors and the observations they give, at the times (and gaps) of ``data``.

    In a run that was not fitted the residual and the noise are as they start. Groups ``prior``,
    ``prior_predictive``, ``observed_data`` and ``constant_data``.
    """
    if draws < 1:
        raise InputError(f"draws is {draws}, expected 1 or more")
    batch = run.batch(data)
    with torch.no_grad(), torch.random.fork_rng(), pyro.validation_enabled(False):
        torch.manual_seed(seed)
        drawn = simulate(run.model, batch, draws)
    groups = {"prior": drawn.latents, "prior_predictive": {OBSERVATION: drawn.full.x}}
    return to_inference_data(run, data, groups, batch.inputs)
