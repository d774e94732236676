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
LAGS = 10  # samples
PATTERN = 0.3  # correlation within these, beyond which errors are no noise


def asked(run: Run, data: Dataset) -> az.InferenceData | None:
    """A posterior of some of the data; None where there is none."""
    try:
        return posterior(run, data.subset(slice(SEEN)), FEW)
    except (InputError, ArithmeticError):  # a fit that came to its end is not lost by this
        return None


def leftover(run: Run, data: Dataset, drawn: az.InferenceData) -> float:
    """Correlation of a reconstruction's errors with those up to ten samples later.

    Root mean square over these lags, less what white noise has by chance, mean over observations: a
    few that are far off are no plateau. Next to 0 of white noise, above 0.4 where something slow or
    fast is not followed; NaN of a model whose noise is not white, or whose observations are not
    over time. Source: Ljung & Box (1978), on a measure of lack of fit in time series models.
    """
    if not isinstance(run.model.noise, White) or run.model.system.axes[:1] != ("time",):
        return float("nan")
    mean = drawn["posterior_predictive"][OBSERVATION].mean(("chain", "draw")).values
    errors = np.nan_to_num(data.x[:SEEN] - mean)
    along, count = tuple(range(1, errors.ndim)), errors.shape[1]
    lags = range(1, max(1, min(LAGS, count // 3)) + 1)
    size = (errors**2).sum(along).clip(1e-300)
    found = [(errors[:, k:] * errors[:, :-k]).sum(along) / size for k in lags]
    square = np.square(found).mean(0) - 1 / errors[0].size
    return float(np.sqrt(square.clip(0)).mean())


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
    if not found > PATTERN:
        return ""
    return (
        "the fit ended on a plateau: what it leaves of the validation data is no noise "
        f"(correlation {found:.2f} within ten samples), so more can be explained; try "
        "another seed, more steps, or another guide or residual"
    )
