"""Conditions: what a section of the report needs, and why it is left out without."""

from __future__ import annotations

from groundvae.diagnostics import energy, looseries
from groundvae.diagnostics.finding import LeftOutError, NotAskedError
from groundvae.diagnostics.section import Condition
from groundvae.diagnostics.subject import Subject


def group(name: str) -> Condition:
    """The posterior holds a group."""

    def condition(subject: Subject) -> None:
        if name not in subject.inference_data:
            raise LeftOutError(f"the posterior has no {name}")

    return condition


def weighted(subject: Subject) -> None:
    """Draws that carry importance weights; those of NUTS or of a mixture of runs have none."""
    data = subject.inference_data
    if "sample_stats" not in data or "log_weight" not in data["sample_stats"]:
        raise LeftOutError("the draws carry no importance weights")


def enough_draws(subject: Subject) -> None:
    """Enough predictive draws for the tail of importance weights."""
    if subject.inference_data["log_likelihood"].sizes["draw"] < looseries.DRAWS:
        raise LeftOutError(f"fewer than {looseries.DRAWS} predictive draws")


def latents(subject: Subject) -> None:
    if not subject.draws:
        raise LeftOutError("the model has no latents")


def physics_latents(subject: Subject) -> None:
    if not subject.run.model.grounding.latents:
        raise LeftOutError("the model has no physics latents")


def grey_box(subject: Subject) -> None:
    """There is physics, and a residual beside it."""
    system = subject.run.model.system
    if not system.grounded:
        raise LeftOutError("the model has no physics to be told from a residual")
    if not system.auxiliary:
        raise LeftOutError("the model is physics alone, it has no residual")


def same_shape(subject: Subject) -> None:
    """Predictions are at the samples of the data."""
    predicted = subject.inference_data["posterior_predictive"]["x"].shape[2:]
    if predicted != subject.inference_data["observed_data"]["x"].shape:
        raise LeftOutError("predictions and data have different shapes")


def familiar(subject: Subject) -> None:
    """The run remembers the data that it was validated on."""
    data = subject.inference_data
    if "constant_data" not in data or "novel" not in data["constant_data"]:
        raise LeftOutError("the run keeps no scores of its validation data; fit it again")


def hamiltonian(subject: Subject) -> None:
    """The physics moves a state by a Hamiltonian."""
    if not energy.has_energy(subject.run):
        raise NotAskedError


def reference(subject: Subject) -> None:
    """A posterior by MCMC to compare with."""
    if subject.reference is None:
        raise NotAskedError
