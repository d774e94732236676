"""``posterior``: draw from a fitted run's posterior and store NetCDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import arviz as az
import numpy as np
from pyro.distributions import TorchDistribution

from groundvae.cli.commands import Posterior
from groundvae.cli.console import note, say, set_threads
from groundvae.cli.doubts import warn_of_run, warn_of_unusable, warn_of_unusual
from groundvae.cli.source import assigned, default_splits, read_data
from groundvae.data.atomic import check_writable
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.inference.importance import UNRELIABLE, guide_ratio, prior_ratio, resample
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.nuts import NutsOptions, Report, nuts
from groundvae.inference.posterior import posterior
from groundvae.inference.refine import RefineOptions, refine
from groundvae.inference.run import Run, load_run
from groundvae.inference.stacking import log_evidence, stack, stacking_weights
from groundvae.models.prior import parse_prior

CONVERGED = 1.01
REMEDY = {
    "new priors": "the new priors needs a refit",
    "model": "the model needs --refine or --nuts",
}


def run(asked: Posterior) -> None:
    check_netcdf(asked.out)
    if asked.nuts is not None and (asked.weighted or asked.reprior):
        raise InputError("--nuts samples the model itself, expected no --weighted or --reprior")
    if asked.mix and (asked.nuts or asked.refine or asked.weighted or asked.reprior):
        raise InputError("--mix draws from runs as they are, expected no other way of drawing")
    if asked.held_out is not None and not asked.mix:
        raise InputError("--held-out weighs runs against each other, expected --mix")
    refinement = None if asked.refine is None else RefineOptions(steps=asked.refine)
    sampling = None if asked.nuts is None else nuts_options(asked, asked.nuts)
    texts = assigned("--reprior", asked.reprior)
    priors = {name: parse_prior(text) for name, text in texts.items()}
    run = load_run(asked.run_folder)
    run.model.latents.with_priors(priors)  # a prior that does not fit stops here
    data = read_data(asked.data, run.entry, asked.reading, refuse_missing=asked.refuse_missing)
    warn_of_run(run, asked.run_folder, data)
    threads = set_threads(asked.threads, data.x[0].size)
    chosen = chosen_observations(asked.only, len(data))
    data = data.subset(chosen)
    scored_by = run  # scores by the guide that saw validation data
    if refinement is not None:
        refined = refine(run, data, refinement)
        say(f"refined: mean ELBO {refined.before:.4g} -> {refined.after:.4g} nats")
        scored_by, run = run, refined.run
    if asked.mix:
        result = mixed(asked, [run, *(load_run(folder) for folder in asked.mix)], data)
    elif sampling is not None:
        result = nuts(run, data, sampling, told(sampling), scored_by=scored_by)
        say(convergence(result))
    else:
        result = drawn(asked, run, data, priors, scored_by)
    result = result.assign_coords(observation=chosen)
    warn_of_unusual(result)
    warn_of_unusable(result)
    save_inference_data(result, asked.out)
    say(f"wrote the posterior of {len(data)} observations to {asked.out}, {threads}")


def drawn(
    asked: Posterior,
    run: Run,
    data: Dataset,
    priors: Mapping[str, TorchDistribution],
    scored_by: Run,
) -> az.InferenceData:
    """Draws of the guide, weighted and taken again where that was asked for."""
    options = asked.options
    if asked.weighted:  # a draw has a weight only if it is decoded
        options = replace(options, predictive_draws=options.draws)
    result = posterior(run, data, options, scored_by=scored_by)
    if not asked.weighted and not priors:
        return result
    log_weight = np.zeros(())
    if asked.weighted:
        log_weight = log_weight + guide_ratio(result)
    if priors:
        log_weight = log_weight + prior_ratio(run, priors, result["posterior"])
    result = resample(result, log_weight, seed=options.seed)
    say(reliability(result, REMEDY["new priors" if priors else "model"]))
    return result


def mixed(asked: Posterior, runs: Sequence[Run], data: Dataset) -> az.InferenceData:
    """Draws of several runs, weighted by their densities of data held out."""
    for run, folder in zip(runs[1:], asked.mix, strict=True):
        if run.config.system != runs[0].config.system:
            system = runs[0].config.system
            raise InputError(f"{folder}: is a run of {run.config.system}, expected {system}")
    entry = runs[0].entry
    held = (
        read_data(asked.held_out, entry, asked.reading)
        if asked.held_out
        else default_splits(entry).valid
    )
    density = [log_evidence(posterior(run, held)) for run in runs]
    weights = stacking_weights(np.stack(density, 1))
    for folder, weight in zip((asked.run_folder, *asked.mix), weights, strict=True):
        say(f"{folder}: weight {weight:.3f}")
    return stack([posterior(run, data, asked.options) for run in runs], weights, asked.options.seed)


def nuts_options(asked: Posterior, chains: int) -> NutsOptions:
    """How NUTS is to run."""
    return NutsOptions(
        chains=chains,
        draws=asked.options.draws,
        warmup=asked.warmup,
        predictive_draws=asked.options.predictive_draws,
        seed=asked.options.seed,
    )


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
