"""``posterior`` and ``predict``: draw from a fitted run's posterior and store NetCDF."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import arviz as az
import numpy as np
import tyro

from groundvae.cli.console import note, say, set_threads
from groundvae.cli.source import once, read_data
from groundvae.data.atomic import check_writable
from groundvae.data.errors import InputError
from groundvae.inference.importance import UNRELIABLE, prior_ratio, resample
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import load_run
from groundvae.models.intervention import parse_intervention
from groundvae.models.prior import parse_prior, split_assignment

SHOWN = 10  # observations named in a warning
Options = Annotated[PosteriorOptions, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Posterior:
    """Infer the latents of observations: an ArviZ InferenceData as NetCDF."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder that `fit` wrote."""
    data: Path
    """The .npz with the observations."""
    out: Path
    """The .nc file to write."""
    reprior: tuple[str, ...] = ()
    """Priors to put in place of the fitted ones without a refit: 'omega=LogNormal(0.5, 0.3)'."""
    refuse_missing: bool = False
    """Stop if observations have missing samples (NaN) instead of masking them."""
    threads: int = 2
    """Processor threads."""
    options: Options = field(default_factory=PosteriorOptions)

    def run(self) -> None:
        check_netcdf(self.out)
        set_threads(self.threads)
        texts = once("--reprior", (split_assignment(text) for text in self.reprior))
        priors = {name: parse_prior(text) for name, text in texts.items()}
        run = load_run(self.run_folder)
        run.model.grounding.with_priors(priors)  # a prior that does not fit stops here
        data = read_data(self.data, run.entry, refuse_missing=self.refuse_missing)
        result = posterior(run, data, self.options)
        warn_of_novel(result)
        if priors:
            ratio = prior_ratio(run, priors, result["posterior"])
            result = resample(result, ratio, seed=self.options.seed)
            say(reliability(result))
        save_inference_data(result, self.out)
        say(f"wrote the posterior of {len(data)} observations to {self.out}")


@dataclass(frozen=True)
class Predict:
    """Predict under interventions and beyond the data's last time, as NetCDF."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder that `fit` wrote."""
    data: Path
    """The .npz with the observations to infer from."""
    out: Path
    """The .nc file to write."""
    do: tuple[str, ...] = ()
    """Changes of latents after they are inferred: 'omega*=2', 'omega+=0.1' or 'omega=1.5'."""
    until: float | None = None
    """Predict up to this time in seconds."""
    refuse_missing: bool = False
    """Stop if observations have missing samples (NaN) instead of masking them."""
    threads: int = 2
    """Processor threads."""
    options: Options = field(default_factory=PosteriorOptions)

    def run(self) -> None:
        check_netcdf(self.out)
        set_threads(self.threads)
        if self.until is not None and not math.isfinite(self.until):
            raise InputError(f"--until is {self.until}, expected a time in seconds")
        changes = once("--do", (parse_intervention(text) for text in self.do))
        run = load_run(self.run_folder)
        data = read_data(self.data, run.entry, refuse_missing=self.refuse_missing)
        predicted = posterior(run, data, self.options, changes=changes, until=self.until)
        warn_of_novel(predicted)
        save_inference_data(predicted, self.out)
        say(f"wrote predictions for {len(data)} observations to {self.out}")


def warn_of_novel(result: az.InferenceData) -> None:
    """Say on stderr how many observations are unlike those that the run knows, if any."""
    if "constant_data" not in result or "novel" not in result["constant_data"]:
        return
    marked = result["constant_data"]
    novel = np.flatnonzero(marked["novel"].values)
    if not len(novel):
        return
    usual = sum(float(v.attrs.get("rate", 0.0)) for v in marked.values())
    which = ", ".join(str(i) for i in novel[:SHOWN]) + (", ..." if len(novel) > SHOWN else "")
    note(
        f"WARNING: {len(novel)} of {marked.sizes['observation']} observations are unlike those "
        f"that the run was validated on (of which {100 * usual:.1f} % would be): {which}; their "
        "posteriors are extrapolations; constant_data.novel marks them"
    )


def reliability(reweighted: az.InferenceData) -> str:
    """How many observations the reweighting is not to be trusted for."""
    k_hat = reweighted["importance"]["k_hat"]
    bad = int((k_hat > UNRELIABLE).sum())
    return (
        f"{bad} of {k_hat.size} observations have k-hat above {UNRELIABLE}: their posterior under "
        "the new priors needs a refit"
        if bad
        else f"k-hat is below {UNRELIABLE} for all {k_hat.size} observations: no refit is needed"
    )


def check_netcdf(path: Path) -> None:
    """Refuse a name that is not NetCDF's before the work, not after it."""
    if path.suffix != ".nc":
        raise InputError(f"{path}: expected a name that ends in .nc")
    check_writable(path)
