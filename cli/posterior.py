"""``posterior``: draw from a fitted run's posterior and store NetCDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from pyro.distributions import TorchDistribution

from groundvae.cli.commands import Posterior, Reading
from groundvae.cli.console import note, say, set_threads
from groundvae.cli.device import check_device
from groundvae.cli.doubts import warn_of_run, warn_of_unusable, warn_of_unusual
from groundvae.cli.source import assigned, default_splits, read_data
from groundvae.cli.streaming import is_streamed, stream
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.inference import arviz as az
from groundvae.inference.generation import population_ratio
from groundvae.inference.importance import UNRELIABLE, guide_ratio, prior_ratio, resample
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.nuts import NutsOptions, Report, nuts
from groundvae.inference.posterior import posterior
from groundvae.inference.refine import RefineOptions, refine
from groundvae.inference.run import Run, load_run
from groundvae.inference.stacking import log_evidence, stack, stacking_weights
from groundvae.models.prior import parse_prior

CONVERGED = 1.01
TWICE = (
    "WARNING: the population was learned from the data of the fit: of these observations it uses "
    "data twice, and their intervals are narrower than they should be by that"
)
REMEDY = {
    "new priors": "the new priors needs a refit",
    "model": "the model needs --refine or --nuts",
}


def run(asked: Posterior) -> None:
    streamed = is_streamed(asked.out, asked.cluster)
    swapped = bool(asked.reprior) or asked.prior != "own"
    if asked.nuts is not None and (asked.weighted or swapped):
        raise InputError(
            "--nuts samples the model itself, expected no --weighted, --reprior or --prior"
        )
    if asked.reprior and asked.prior != "own":
        raise InputError("--reprior and --prior both replace the priors, expected one of them")
    if asked.mix and (asked.nuts or asked.refine or asked.weighted or swapped):
        raise InputError("--mix draws from runs as they are, expected no other way of drawing")
    if asked.held_out is not None and not asked.mix:
        raise InputError("--held-out weighs runs against each other, expected --mix")
    check_device(asked.device)
    others = [f"--{k}" for k in ("refine", "nuts", "mix") if getattr(asked, k) not in ((), None)]
    if others and asked.device != "cpu":
        raise InputError(f"{others[0]} computes on the cpu, expected no --device")
    if streamed:
        streamed_draws(asked)
        return
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
    scored_by: Run | None = None  # the guide that saw validation data, where it draws no longer
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


def streamed_draws(asked: Posterior) -> None:
    """Draws of the guide, block by block."""
    others = ("reprior", "weighted", "refine", "nuts", "mix", "only", "held_out")
    named = [f"--{name}" for name in others if getattr(asked, name) not in ((), False, None)]
    named += ["--prior"] if asked.prior != "own" else []
    named += ["--columns and --window"] if asked.reading != Reading() else []
    if named:
        raise InputError(f"{named[0]} is for one process and .nc, expected no --cluster or .zarr")
    stream(asked)


def drawn(
    asked: Posterior,
    run: Run,
    data: Dataset,
    priors: Mapping[str, TorchDistribution],
    scored_by: Run | None,
) -> az.InferenceData:
    """Draws of the guide, weighted and taken again where that was asked for."""
    options = asked.options
    if asked.weighted:  # a draw has a weight only if it is decoded
        options = replace(options, predictive_draws=options.draws)
    result = posterior(run.to(asked.device), data, options, scored_by=scored_by)
    run.to("cpu")
    swapped = bool(priors) or asked.prior == "population"
    if not asked.weighted and not swapped:
        return result
    log_weight = np.zeros(())
    if asked.weighted:
        log_weight = log_weight + guide_ratio(result)
    if priors:
        log_weight = log_weight + prior_ratio(run, priors, result["posterior"])
    if asked.prior == "population":
        note(TWICE)
        log_weight = log_weight + population_ratio(run, result["posterior"])
    result = resample(result, log_weight, seed=options.seed)
    say(reliability(result, REMEDY["new priors" if swapped else "model"]))
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

    def report(step: int, total: int) -> None:
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
