"""``check``: the usual mistakes of a law, its priors and its data, before any fit."""

from __future__ import annotations

from pathlib import Path

from groundvae.cli.commands import Check
from groundvae.cli.console import note, say, set_threads
from groundvae.cli.source import assigned, default_splits, read_data
from groundvae.data.atomic import check_writable
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.unusable import usable
from groundvae.diagnostics.beforehand import beforehand
from groundvae.diagnostics.priorpredictive import PriorPredictive, compute_priorpredictive
from groundvae.diagnostics.style import save_figure
from groundvae.diagnostics.whiteness import advised, white_floor
from groundvae.inference.fit import prepare
from groundvae.inference.prior import prior_predictive
from groundvae.inference.run import Run
from groundvae.models.catalogue import Entry
from groundvae.models.ownfile import find_system
from groundvae.models.prior import parse_priors
from groundvae.physics.errors import tolerant


def run(asked: Check) -> None:
    entry = find_system(asked.system)
    path = asked.out or Path(f"{Path(asked.system).stem}-prior.png")
    if path.suffix != ".png":
        raise InputError(f"{path}: expected a name that ends in .png")
    check_writable(path)
    data = load(asked, entry)
    set_threads(asked.threads, data.x[0].size)
    run = build(asked, data)
    for finding in beforehand(run, data):
        say(str(finding))
    with tolerant():
        drawn = prior_predictive(run, data, draws=asked.draws, seed=asked.seed)
    result = compute_priorpredictive(drawn)
    verdict = PriorPredictive().judge(result)
    names = {"quantity": entry.system.quantity, "unit": entry.system.unit}
    save_figure(PriorPredictive().plot(result.assign_attrs(names)), path)
    say(f"{verdict.level}: {verdict.name}. {verdict.meaning}")
    outside = 100 * result.attrs["outside"]
    say(f"{outside:.1f} % of the samples are outside the prior's 99 % band")
    say(told_of_noise(entry, data))
    say(f"figure: {path}")


def told_of_noise(entry: Entry, data: Dataset) -> str:
    """What a noise scale can be before any fit, and what to take where a fit ends above it."""
    system = entry.system
    ordered = [axis for axis in system.axes if axis not in system.labels]
    floor = white_floor(data.x, 1 + system.axes.index(ordered[0]))
    return (
        f"white noise has a standard deviation of {floor:.2g} {system.unit}".rstrip()
        + " at most: where a fit ends with twice as much, neighbours share what it misses; then "
        f"fit with noise={advised(system.axes, ordered, data.x.shape[-1])}"
    )


def load(asked: Check, entry: Entry) -> Dataset:
    """What to check against."""
    if asked.data is not None:
        data = read_data(asked.data, entry, asked.reading)
        return data.subset(usable(data))
    splits = default_splits(entry, asked.root)
    note(f"checking against the training data: {splits.source}")
    return splits.train


def build(asked: Check, data: Dataset) -> Run:
    """The unfitted run that the options describe."""
    priors = parse_priors(assigned("--prior", asked.prior))
    return prepare(asked.system, data, variant=asked.variant, priors=priors, seed=asked.seed)
