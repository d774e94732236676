"""Whether a fit ended where more could be explained: what it leaves, and what it does not reach."""

from __future__ import annotations

import numpy as np

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.inference import arviz as az
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run
from groundvae.models.greybox import OBSERVATION
from groundvae.models.noises.white import White

FOUND = "mode_found"
"""In ``constant_data``: of which observations a search found a mode."""

FEW = PosteriorOptions(draws=20, predictive_draws=20)
SEEN = 100  # observations that tell it
REACHED = 0.5  # of the observations, of which a mode is found where all is well
SMOOTH = 0.3  # correlation from one sample to the next, beyond which errors are no noise


def asked(run: Run, data: Dataset) -> az.InferenceData | None:
    """A posterior of some of the data; None where there is none."""
    try:
        return posterior(run, data.subset(slice(SEEN)), FEW)
    except (InputError, ArithmeticError):  # a fit that came to its end is not lost by this
        return None


def leftover(run: Run, data: Dataset, drawn: az.InferenceData) -> float:
    """Correlation of a reconstruction's errors from one sample to the next, mean over observations.

    Next to 0 of white noise, next to 1 where a smooth part of the data is not followed at all; a
    few observations that are far off do not make a plateau. NaN of a model whose noise is not
    white, or whose observations are not over time.
    """
    if not isinstance(run.model.noise, White) or run.model.system.axes[:1] != ("time",):
        return float("nan")
    mean = drawn["posterior_predictive"][OBSERVATION].mean(("chain", "draw")).values
    errors = np.nan_to_num(data.x[:SEEN] - mean)
    along = tuple(range(1, errors.ndim))
    together = (errors[:, 1:] * errors[:, :-1]).sum(along)
    return float((together / (errors**2).sum(along).clip(1e-300)).mean())


def unreached(drawn: az.InferenceData) -> str:
    """A sentence where a search found no mode of many observations; empty where it did."""
    constant = drawn["constant_data"]
    if FOUND not in constant or float(constant[FOUND].mean()) > REACHED:
        return ""
    missed, count = int((~constant[FOUND].astype(bool)).sum()), constant.sizes["observation"]
    return (
        f"no mode was found of {missed} of {count} observations, so little was learned of them "
        f"(constant_data.{FOUND} marks them): narrow the priors, or let the unknown see fewer "
        "states (sees=())"
    )


def told(run: Run, data: Dataset) -> str:
    """A sentence where a fit ended on a plateau or found no modes; empty where it did not."""
    drawn = asked(run, data)
    if drawn is None:
        return ""
    if missed := unreached(drawn):
        return missed
    found = leftover(run, data, drawn)
    if not found > SMOOTH:
        return ""
    return (
        "the fit ended on a plateau: what it leaves of the validation data is no noise "
        f"(correlation {found:.2f} from one sample to the next), so more can be explained; try "
        "another seed, more steps, or another guide or residual"
    )
