"""``fit``: train a model and its guide, and save the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from pyro.distributions import TorchDistribution

from groundvae.cli.commands import Fit, Reading
from groundvae.cli.console import err, note, say, set_threads
from groundvae.cli.device import check_device
from groundvae.cli.progress import reporting
from groundvae.cli.source import (
    SimulatedSplits,
    assigned,
    default_splits,
    once,
    read_data,
    usual_recipe,
)
from groundvae.cli.usual import tuned
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.root import Splits
from groundvae.data.unusable import usable
from groundvae.guides.catalogue import build_guide
from groundvae.guides.options import guide_options
from groundvae.guides.phase import Ending
from groundvae.inference.checkpoint import FILE, Checkpoint
from groundvae.inference.cluster import check_cluster
from groundvae.inference.fit import Means, apart, check_spread, prepare
from groundvae.inference.interruption import stopped_by
from groundvae.inference.keeping import fit_in, resume
from groundvae.inference.plateau import told
from groundvae.inference.preset import build_loss
from groundvae.inference.run import Run, check_folder
from groundvae.models.catalogue import Entry
from groundvae.models.ownfile import find_system
from groundvae.models.prior import parse_priors
from groundvae.models.priorfile import read_priors
from groundvae.models.recipe import Recipe

# Of a fit's options, those that a checkpoint keeps beside the config of the run.
BEGUN = ("system", "data", "root", "refuse_missing", "device", "threads")


def run(asked: Fit) -> None:
    """The command."""
    fit_and_save(asked)


def fit_and_save(asked: Fit, splits: Splits | SimulatedSplits | None = None) -> Run:
    """Fit and save; the run stands in its folder even if this raises.

    ``splits``: the system's own data, where they are at hand.
    """
    if asked.resume is not None:
        return go_on(asked, asked.resume, splits)
    if not asked.system:
        raise InputError("SYSTEM is missing, expected its name (see `list`) or --resume RUN")
    entry = find_system(asked.system)
    folder = asked.out or Path("runs") / asked.system
    check_folder(folder, overwrite=asked.overwrite)
    check_first(asked, entry)
    train, valid, source = load(asked, entry, splits)
    threads = set_threads(asked.threads, train.x[0].size)
    run = unfitted(asked, entry, train, source)
    what = f"{asked.system} ({run.config.variant}, {run.config.how.guide})"
    few = ", none spared to validate on" if train is valid else ""
    note(f"fitting {what} on {len(train)} observations{few}, {threads}")
    return fit(replace(asked, threads=torch.get_num_threads()), run, train, valid, folder)


def go_on(asked: Fit, folder: Path, splits: Splits | SimulatedSplits | None = None) -> Run:
    """The rest of a fit that was stopped."""
    if asked != Fit(resume=folder, cluster=asked.cluster):
        raise InputError("--resume goes on as the fit was begun, expected no option but --cluster")
    run, checkpoint = resume(folder)
    known = {k: checkpoint.values["begun"][k] for k in BEGUN}
    paths = {k: known[k] and Path(known[k]) for k in ("data", "root")}
    told = checkpoint.values["begun"]["reading"]
    reading = Reading(tuple(told["columns"]), told["window"])
    begun = Fit(**known | paths, cluster=asked.cluster, reading=reading)
    check_device(begun.device)
    set_threads(begun.threads)
    train, valid, _ = load(begun, find_system(begun.system), splits)
    note(f"going on with {folder} at step {checkpoint.values['fit']['steps']}")
    return fit(begun, run, train, valid, folder, checkpoint)


def check_first(asked: Fit, entry: Entry) -> None:
    """Refuse what cannot be built before data are read or simulated."""
    check_device(asked.device)
    recipe = recipe_of(asked, entry)
    model = entry.build(asked.variant, swapped_priors(asked))
    guide = build_guide(recipe.guide, model, 1, guide_options(recipe.guide_options))
    check_cluster(asked.cluster)
    check_spread(guide, asked.cluster, asked.device)
    build_loss(recipe.loss, recipe.weights)


def recipe_of(asked: Fit, entry: Entry) -> Recipe:
    """The variant's own, with what was typed in its place."""
    usual = usual_recipe(entry, asked.variant, asked.loss)
    return Recipe(
        loss=usual.loss,
        weights={**usual.weights, **_weights(asked.weight)},
        guide=asked.guide or usual.guide,
        guide_options={**usual.guide_options, **asked.guide_options.given()},
        options=tuned(usual.options, asked.options),
        double=usual.double,
    )


def swapped_priors(asked: Fit) -> dict[str, TorchDistribution]:
    """The priors to swap, by the name of their latent."""
    written = {} if asked.priors_file is None else read_priors(asked.priors_file)
    return parse_priors(written | assigned("--prior", asked.prior))


def load(
    asked: Fit, entry: Entry, splits: Splits | SimulatedSplits | None = None
) -> tuple[Dataset, Dataset, str]:
    """Training and validation data, and where they come from."""
    if asked.data is None:
        splits = splits or default_splits(entry, asked.root)
        return splits.train, splits.valid, splits.source
    data = read_data(asked.data, entry, asked.reading, refuse_missing=asked.refuse_missing)
    train, valid = apart(data.subset(usable(data)))
    return train, valid, asked.data.name


def unfitted(asked: Fit, entry: Entry, train: Dataset, source: str) -> Run:
    """The run that ``gv.fit`` would fit."""
    return prepare(
        asked.system,
        train,
        variant=asked.variant,
        recipe=recipe_of(asked, entry),
        priors=swapped_priors(asked),
        trained_on=source,
    )


def begun_with(asked: Fit) -> dict[str, Any]:
    """What it takes to find the data again, as plain values."""
    known = {name: getattr(asked, name) for name in BEGUN}
    paths = {k: known[k] and str(known[k].resolve()) for k in ("data", "root")}
    return known | paths | {"reading": asdict(asked.reading)}


def fit(
    asked: Fit,
    run: Run,
    train: Dataset,
    valid: Dataset,
    folder: Path,
    resumed: Checkpoint | None = None,
) -> Run:
    """Fit a run, kept in its folder, with progress on stderr; then say how it ended."""
    with reporting(err) as report, resumable(folder):
        place = fit_in(
            folder,
            run,
            train,
            valid,
            Means(asked.device, asked.cluster, report=report),
            begun=begun_with(asked),
            warn=note,
            resumed=resumed,
        )
    kept = f", {folder} is kept as it was" if place != folder else ""
    say(
        f"{run.fit.stop}: {run.fit.steps} steps in {run.fit.seconds:.0f} s, validation ELBO "
        f"{run.fit.best_elbo:.4g}, run saved to {place}{kept}"
    )
    if run.fit.ending is Ending.INTERRUPTED:
        note(f"fit --resume {place} goes on from there")
        raise stopped_by(run.fit.why)
    check_converged(run, place)
    if plateau := told(run, valid):
        note(f"WARNING: {plateau}")
    return run


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Say how to go on where a fit is stopped inside, between its steps or after them."""
    try:
        yield
    except KeyboardInterrupt:
        if (folder / FILE).is_file():
            note(f"fit --resume {folder} goes on from there")
        raise


def check_converged(run: Run, folder: Path) -> Run:
    """The run, unless its fit left the finite numbers."""
    if run.fit.ending is Ending.DIVERGED:
        raise InputError(f"the fit {run.fit.stop}; the last good state is in {folder}")
    return run


def _weights(texts: tuple[str, ...]) -> Mapping[str, float]:
    return once("--weight", (_weight(text) for text in texts))


def _weight(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        weight = float(value)
    except ValueError as error:
        raise InputError(f"--weight {text!r} cannot be read, expected NAME=NUMBER") from error
    if not 0 <= weight < float("inf"):
        raise InputError(f"--weight {text!r}: expected a finite number of 0 or more")
    return name.strip(), weight
