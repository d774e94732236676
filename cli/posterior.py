"""``posterior`` and ``predict``: draw from a fitted run's posterior and store NetCDF."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import arviz as az
import numpy as np
import tyro
from pyro.distributions import TorchDistribution

from groundvae.cli.console import note, say, set_threads
from groundvae.cli.doubts import warn_of_run, warn_of_unusable, warn_of_unusual
from groundvae.cli.source import assigned, default_splits, once, read_data
from groundvae.data.atomic import check_writable
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.diagnostics.evidence import compute_evidence
from groundvae.inference.importance import UNRELIABLE, guide_ratio, prior_ratio, resample
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.nuts import NutsOptions, Report, nuts
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.refine import RefineOptions, refine
from groundvae.inference.run import Run, load_run
from groundvae.inference.stacking import stack, stacking_weights
from groundvae.models.intervention import parse_intervention
from groundvae.models.prior import parse_prior

CONVERGED = 1.01
REMEDY = {
    "new priors": "the new priors needs a refit",
    "model": "the model needs --refine or --nuts",
}
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
    weighted: bool = False
    """Weight the guide's draws by the model (Pareto-smoothed), observation by observation."""
    refine: int | None = None
    """Train the guide further for these observations alone, by so many steps; RUN is kept."""
    nuts: int | None = None
    """Sample by NUTS on the fitted model, in so many chains; takes minutes for a handful."""
    warmup: int = 300
    """Draws of each chain of NUTS before those that are kept (`--draws` of each chain)."""
    mix: tuple[Path, ...] = ()
    """Further runs of the same system: draws of all, each run weighted by stacking."""
    held_out: Path | None = None
    """With `--mix`: the .npz whose density weighs the runs; default the system's own
    validation data."""
    only: tuple[int, ...] = ()
    """Which observations, counted from 0; default all."""
    refuse_missing: bool = False
    """Stop if observations have missing samples (NaN) instead of masking them."""
    threads: int | None = None
    """Processor threads; default one, or a few where observations are large."""
    options: Options = field(default_factory=PosteriorOptions)

    def run(self) -> None:
        check_netcdf(self.out)
        if self.nuts is not None and (self.weighted or self.reprior):
            raise InputError("--nuts samples the model itself, expected no --weighted or --reprior")
        if self.mix and (self.nuts or self.refine or self.weighted or self.reprior):
            raise InputError("--mix draws from runs as they are, expected no other way of drawing")
        if self.held_out is not None and not self.mix:
            raise InputError("--held-out weighs runs against each other, expected --mix")
        refinement = None if self.refine is None else RefineOptions(steps=self.refine)
        sampling = None if self.nuts is None else self.sampling(self.nuts)
        texts = assigned("--reprior", self.reprior)
        priors = {name: parse_prior(text) for name, text in texts.items()}
        run = load_run(self.run_folder)
        run.model.latents.with_priors(priors)  # a prior that does not fit stops here
        data = read_data(self.data, run.entry, refuse_missing=self.refuse_missing)
        warn_of_run(run, self.run_folder, data)
        threads = set_threads(self.threads, data.x[0].size)
        chosen = chosen_observations(self.only, len(data))
        data = data.subset(chosen)
        scored_by = run  # scores by the guide that saw validation data
        if refinement is not None:
            refined = refine(run, data, refinement)
            say(f"refined: mean ELBO {refined.before:.4g} -> {refined.after:.4g} nats")
            scored_by, run = run, refined.run
        if self.mix:
            result = self.mixed([run, *(load_run(folder) for folder in self.mix)], data)
        elif sampling is not None:
            result = nuts(run, data, sampling, told(sampling), scored_by=scored_by)
            say(convergence(result))
        else:
            result = self.drawn(run, data, priors, scored_by)
        result = result.assign_coords(observation=chosen)
        warn_of_unusual(result)
        warn_of_unusable(result)
        save_inference_data(result, self.out)
        say(f"wrote the posterior of {len(data)} observations to {self.out}, {threads}")

    def drawn(
        self, run: Run, data: Dataset, priors: Mapping[str, TorchDistribution], scored_by: Run
    ) -> az.InferenceData:
        """Draws of the guide, weighted and taken again where that was asked for."""
        options = self.options
        if self.weighted:  # a draw has a weight only if it is decoded
            options = replace(options, predictive_draws=options.draws)
        result = posterior(run, data, options, scored_by=scored_by)
        if not self.weighted and not priors:
            return result
        log_weight = np.zeros(())
        if self.weighted:
            log_weight = log_weight + guide_ratio(result)
        if priors:
            log_weight = log_weight + prior_ratio(run, priors, result["posterior"])
        result = resample(result, log_weight, seed=options.seed)
        say(reliability(result, REMEDY["new priors" if priors else "model"]))
        return result

    def mixed(self, runs: Sequence[Run], data: Dataset) -> az.InferenceData:
        """Draws of several runs, weighted by their densities of data held out."""
        for run, folder in zip(runs[1:], self.mix, strict=True):
            if run.config.system != runs[0].config.system:
                system = runs[0].config.system
                raise InputError(f"{folder}: is a run of {run.config.system}, expected {system}")
        entry = runs[0].entry
        held = read_data(self.held_out, entry) if self.held_out else default_splits(entry).valid
        density = [
            compute_evidence(posterior(run, held)["sample_stats"]["log_weight"])["iwae"].values
            for run in runs
        ]
        weights = stacking_weights(np.stack(density, 1))
        for folder, weight in zip((self.run_folder, *self.mix), weights, strict=True):
            say(f"{folder}: weight {weight:.3f}")
        return stack(
            [posterior(run, data, self.options) for run in runs], weights, self.options.seed
        )

    def sampling(self, chains: int) -> NutsOptions:
        """How NUTS is to run."""
        return NutsOptions(
            chains=chains,
            draws=self.options.draws,
            warmup=self.warmup,
            predictive_draws=self.options.predictive_draws,
            seed=self.options.seed,
        )


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
    threads: int | None = None
    """Processor threads; default one, or a few where observations are large."""
    options: Options = field(default_factory=PosteriorOptions)

    def run(self) -> None:
        check_netcdf(self.out)
        if self.until is not None and not math.isfinite(self.until):
            raise InputError(f"--until is {self.until}, expected a time in seconds")
        changes = once("--do", (parse_intervention(text) for text in self.do))
        run = load_run(self.run_folder)
        data = read_data(self.data, run.entry, refuse_missing=self.refuse_missing)
        warn_of_run(run, self.run_folder, data)
        threads = set_threads(self.threads, data.x[0].size)
        predicted = posterior(run, data, self.options, changes=changes, until=self.until)
        warn_of_unusual(predicted)
        warn_of_unusable(predicted)
        save_inference_data(predicted, self.out)
        say(f"wrote predictions for {len(data)} observations to {self.out}, {threads}")


def chosen_observations(only: Sequence[int], count: int) -> np.ndarray:
    """The indices that ``--only`` names, or all.

    >>> chosen_observations([2, 0], 5)
    array([2, 0])
    """
    wrong = [i for i in only if not 0 <= i < count]
    if wrong:
        raise InputError(f"--only names observation {wrong[0]}, the data have 0 .. {count - 1}")
    if len(set(only)) < len(only):
        raise InputError("--only names an observation twice, expected once")
    return np.array(only, dtype=int) if only else np.arange(count)


def told(options: NutsOptions) -> Report:
    """Lines about the progress of NUTS, on stderr."""
    total = options.warmup + options.draws

    def report(step: int) -> None:
        if step % max(1, total // 5) == 0:
            note(f"NUTS, {options.chains} chains: step {step}/{total}")

    return report


def convergence(sampled: az.InferenceData) -> str:
    """How many observations NUTS has not converged for."""
    r_hat = sampled["convergence"]["r_hat"].max("latent")
    smallest = float(sampled["convergence"]["ess_bulk"].min())
    late = int((~(r_hat < CONVERGED)).sum())
    diverged = int(sampled["sample_stats"]["diverging"].any("observation").sum())
    return (
        f"NUTS: {late} of {r_hat.size} observations have R-hat of {CONVERGED} or above; smallest "
        f"effective size {smallest:.0f}; {diverged} divergent steps"
    )


def reliability(reweighted: az.InferenceData, remedy: str) -> str:
    """How many observations the reweighting is not to be trusted for."""
    k_hat = reweighted["importance"]["k_hat"]
    bad = int((k_hat > UNRELIABLE).sum())
    return (
        f"{bad} of {k_hat.size} observations have k-hat above {UNRELIABLE}: their posterior under "
        f"{remedy}"
        if bad
        else f"k-hat is below {UNRELIABLE} for all {k_hat.size} observations: no refit is needed"
    )


def check_netcdf(path: Path) -> None:
    """Refuse a name that is not NetCDF's before the work, not after it."""
    if path.suffix != ".nc":
        raise InputError(f"{path}: expected a name that ends in .nc")
    check_writable(path)
