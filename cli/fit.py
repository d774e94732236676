"""``fit``: train a model and its guide, and save the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pyro.distributions import TorchDistribution

from groundvae.cli.commands import Fit
from groundvae.cli.console import err, note, say, set_threads
from groundvae.cli.progress import reporting
from groundvae.cli.source import (
    assigned,
    default_splits,
    once,
    read_data,
    usual_recipe,
)
from groundvae.cli.usual import tuned
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides.catalogue import build_guide
from groundvae.guides.options import guide_options
from groundvae.guides.phase import Ending
from groundvae.inference.fit import execute, prepare
from groundvae.inference.preset import build_loss
from groundvae.inference.run import Run, check_folder
from groundvae.models.catalogue import Entry
from groundvae.models.ownfile import find_system
from groundvae.models.prior import parse_priors
from groundvae.models.priorfile import read_priors
from groundvae.models.recipe import Recipe


def run(asked: Fit) -> None:
    """The command."""
    fit_and_save(asked)


def fit_and_save(asked: Fit) -> Run:
    """Fit and save; the run stands in its folder even if this raises."""
    entry = find_system(asked.system)
    folder = asked.out or Path("runs") / asked.system
    check_folder(folder, overwrite=asked.overwrite)
    check_first(asked, entry)
    set_threads(asked.threads)
    train, valid, source = load(asked, entry)
    run = fit(asked, entry, train, valid, source)
    run.save(folder, overwrite=asked.overwrite)
    say(
        f"{run.fit.stop}: {run.fit.steps} steps in {run.fit.seconds:.0f} s, validation ELBO "
        f"{run.fit.best_elbo:.4g}, run saved to {folder}"
    )
    return check_converged(run, folder)


def check_first(asked: Fit, entry: Entry) -> None:
    """Refuse what cannot be built before data are read or simulated."""
    check_device(asked.device)
    recipe = recipe_of(asked, entry)
    model = entry.build(asked.variant, swapped_priors(asked))
    build_guide(recipe.guide, model, 1, guide_options(recipe.guide_options))
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


def load(asked: Fit, entry: Entry) -> tuple[Dataset, Dataset, str]:
    """Training and validation data, and where they come from."""
    if asked.data is None:
        splits = default_splits(entry, asked.root)
        return splits.train, splits.valid, splits.source
    data = read_data(asked.data, entry, refuse_missing=asked.refuse_missing)
    train, valid = data.split(0.8, seed=0)
    return train, valid, asked.data.name


def fit(asked: Fit, entry: Entry, train: Dataset, valid: Dataset, source: str) -> Run:
    """The run, fitted by the same call as ``gv.fit``, with progress on stderr."""
    recipe = recipe_of(asked, entry)
    run = prepare(
        asked.system,
        train,
        variant=asked.variant,
        recipe=recipe,
        priors=swapped_priors(asked),
        trained_on=source,
    )
    what = f"{asked.system} ({run.config.variant}, {recipe.guide})"
    note(f"fitting {what} on {len(train)} observations")
    with reporting(err) as report:
        return execute(run, train, valid, device=asked.device, report=report)


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


def check_device(name: str) -> None:
    """Refuse a device that this machine lacks, before any work."""
    try:
        if torch.device(name).type not in ("cpu", "cuda"):
            raise RuntimeError(name)
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} is not available, expected cpu or cuda") from error
