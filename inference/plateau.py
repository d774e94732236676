"""Whether a fit ended where more could be explained: then what it leaves follows a pattern."""

from __future__ import annotations

import numpy as np

from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run
from groundvae.models.greybox import OBSERVATION
from groundvae.models.noises.white import White

FEW = PosteriorOptions(draws=20, predictive_draws=20)
SEEN = 100  # observations that tell it
SMOOTH = 0.5  # correlation from one sample to the next, beyond which errors are no noise


def leftover(run: Run, data: Dataset) -> float:
    """Correlation of a reconstruction's errors from one sample to the next, of all observations.

    Next to 0 of white noise, next to 1 where a smooth part of the data is not followed at all; NaN
    of a model whose noise is not white, or whose observations are not over time.
    """
    if not isinstance(run.model.noise, White) or run.model.system.axes[:1] != ("time",):
        return float("nan")
    some = data.subset(slice(SEEN))
    try:
        drawn = posterior(run, some, FEW)["posterior_predictive"][OBSERVATION]
    except (InputError, ArithmeticError):  # a fit that came to its end is not lost by this
        return float("nan")
    errors = np.nan_to_num(some.x - drawn.mean(("chain", "draw")).values)
    return float((errors[:, 1:] * errors[:, :-1]).sum() / max((errors**2).sum(), 1e-300))


def told(run: Run, data: Dataset) -> str:
    """A sentence where a fit ended on a plateau; empty where it did not."""
    found = leftover(run, data)
    if not found > SMOOTH:
        return ""
    return (
        "the fit ended on a plateau: what it leaves of the validation data is no noise "
        f"(correlation {found:.2f} from one sample to the next), so more can be explained; try "
        "another seed, more steps, or another guide or residual"
    )
