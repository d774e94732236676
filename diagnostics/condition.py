"""Conditions: what a section of the report needs, and why it is left out without."""

from __future__ import annotations

from groundvae.diagnostics import energy, loo_pit
from groundvae.diagnostics.context import Context
from groundvae.diagnostics.finding import LeftOutError, NotAskedError
from groundvae.diagnostics.section import Condition


def group(name: str) -> Condition:
    """The posterior holds a group."""

    def condition(context: Context) -> None:
        if name not in context.inference_data:
            raise LeftOutError(f"the posterior has no {name}")

    return condition


def weighted(context: Context) -> None:
    """Draws that carry importance weights; those of NUTS or of a mixture of runs have none."""
    data = context.inference_data
    if "sample_stats" not in data or "log_weight" not in data["sample_stats"]:
        raise LeftOutError("the draws carry no importance weights")


def enough_draws(context: Context) -> None:
    """Enough predictive draws for the tail of importance weights."""
    if context.inference_data["log_likelihood"].sizes["draw"] < loo_pit.DRAWS:
        raise LeftOutError(f"fewer than {loo_pit.DRAWS} predictive draws")


def latents(context: Context) -> None:
    if not context.draws:
        raise LeftOutError("the model has no latents")


def physics_latents(context: Context) -> None:
    if not context.run.model.latents:
        raise LeftOutError("the model has no physics latents")


def grey_box(context: Context) -> None:
    """There is physics, and a residual beside it."""
    system = context.run.model.system
    if not system.grounded:
        raise LeftOutError("the model has no physics to be told from a residual")
    if not system.auxiliary:
        raise LeftOutError("the model is physics alone, it has no residual")


def same_shape(context: Context) -> None:
    """Predictions are at the samples of the data."""
    predicted = context.inference_data["posterior_predictive"]["x"].shape[2:]
    if predicted != context.inference_data["observed_data"]["x"].shape:
        raise LeftOutError("predictions and data have different shapes")


def familiar(context: Context) -> None:
    """The run remembers the data that it was validated on."""
    data = context.inference_data
    if "constant_data" not in data or "out_of_distribution" not in data["constant_data"]:
        raise LeftOutError("the run keeps no scores of its validation data; fit it again")


def hamiltonian(context: Context) -> None:
    """The physics moves a state by a Hamiltonian."""
    if not energy.has_energy(context.run):
        raise NotAskedError


def reference(context: Context) -> None:
    """A posterior by MCMC to compare with."""
    if context.reference is None:
        raise NotAskedError
