"""Predictions of a hidden law where no data are: beyond the window, and under a changed latent.

Truth is the exact simulator. A band holds a sample if truth and noise lie within its 90 %; the
error is the median, over observations, of the root mean square error of the mean prediction.
"""

from __future__ import annotations

import numpy as np
from laws import Law
from laws_fields import NOISE, TIMES, FieldLaw

import groundvae as gv
from groundvae.inference import arviz as az
from groundvae.inference.posterior import PosteriorOptions

Array = np.ndarray
FACTOR = 1.2  # by which a latent is changed
WINDOWS = 4.0  # times the window, to which is predicted
DRAWS = PosteriorOptions(draws=200, predictive_draws=200)


def ahead(
    law: Law | FieldLaw, run: gv.Run, data: gv.Dataset, drawn: dict[str, Array]
) -> dict[str, float]:
    """``beyond_cov90``, ``beyond_mae``, ``changed_cov90``, ``changed_mae``."""
    field = isinstance(law, FieldLaw)
    name = "diffusion" if field else law.doubled
    if isinstance(law, FieldLaw):
        truth = {k: drawn[k] for k in (*law.ranges, "diffusion", "magnitude")}
        times, far = drawn["later_t"], drawn["later"]
        near = law.solve({**truth, name: FACTOR * truth[name]}, TIMES)
        noise = NOISE
    else:
        times, far = law.truth(drawn, WINDOWS)
        _, near = law.truth(drawn, 1.0, FACTOR)
        noise = law.noise
    window = data.x.shape[1]
    long = gv.posterior(run, data, DRAWS, until=float(times[-1]))
    found = _scores("beyond", _drawn(long)[:, :, window:], far[:, window:], noise)
    other = gv.posterior(run, data, DRAWS, changes={name: gv.Change(factor=FACTOR)})
    return found | _scores("changed", _drawn(other), near, noise)


def _drawn(posterior: az.InferenceData) -> Array:
    return np.asarray(posterior["posterior_predictive"]["x"].values[0], dtype=float)


def _scores(kind: str, drawn: Array, truth: Array, noise: float) -> dict[str, float]:
    """Of draws (draw, n, time, ...) of observations with noise, and their noiseless truth."""
    seen = truth + noise * np.random.default_rng(0).standard_normal(truth.shape)
    low, high = np.nanquantile(drawn, (0.05, 0.95), axis=0)
    off = (np.nanmean(drawn, 0) - truth).reshape(len(truth), -1)
    return {
        f"{kind}_cov90": float(((seen >= low) & (seen <= high)).mean()),
        f"{kind}_mae": float(np.nanmedian(np.sqrt((off**2).mean(1)))),
    }
