"""``fit``: a model and data in, a run out; the command line does the same by the same call."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyro.distributions import TorchDistribution

from groundvae.data.batch import Batch
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.likeness import describe
from groundvae.data.units import check_units
from groundvae.guides.catalogue import GUIDES, GuideFactory
from groundvae.guides.guide import Guide
from groundvae.guides.phase import Ending
from groundvae.inference import plateau
from groundvae.inference.checkpoint import Checkpoints
from groundvae.inference.cluster import NONE, workers
from groundvae.inference.notebook import bars
from groundvae.inference.optimize import Report, optimize
from groundvae.inference.outofdistribution import learn_reference
from groundvae.inference.penalty import Penalty
from groundvae.inference.population import learn_population
from groundvae.inference.run import Run, RunConfig, new_run
from groundvae.inference.shared import SWEEPS, agree, check_shared
from groundvae.models.greybox import GreyBox
from groundvae.models.ownfile import find_system
from groundvae.models.recipe import Recipe

SHARE = 0.8  # of the data that are fitted where none are given to validate on
FEW = 20  # observations, below which none can be spared for that


@dataclass(frozen=True)
class Means:
    """What a fit is given beside a run and its data.

    Args:
        device: where it is fitted, ``cpu`` or ``cuda``; the run comes back to the processor.
        cluster: who searches, in a fit by evidence; see ``inference.cluster.workers``.
        penalties: of one's own, by name.
        report: called after every validation.

    """

    device: str = "cpu"
    cluster: str = NONE
    penalties: Mapping[str, Penalty] = field(default_factory=dict)
    report: Report | None = None


def fit(
    model: GreyBox | str,
    data: Dataset,
    *,
    valid: Dataset | None = None,
    variant: str = "",
    recipe: Recipe | None = None,
    guide: str | GuideFactory | None = None,
    priors: Mapping[str, TorchDistribution] | None = None,
    penalties: Mapping[str, Penalty] | None = None,
    seed: int | None = None,
    trained_on: str = "",
    device: str = "cpu",
    cluster: str = NONE,
    report: Report | None = None,
    folder: Path | str | None = None,
    resume: bool = False,
) -> Run:
    """Fit a model and its guide to observations.

    Args:
        model: a grey box; or the name of a system, whose usual variant is taken.
        data: what was observed.
        valid: to validate on; a fifth of the data where none are given, or of a few all.
        variant: of a system that is given by name.
        recipe: objective, penalties, guide, options; the variant's, or that of the first residual.
        guide: by name or as a factory, in place of the recipe's.
        priors: to swap, by the name of their latent.
        penalties: of one's own, by name; their weights are the recipe's, or 1.
        seed: of parameters, batches and draws, in place of the recipe's.
        trained_on: what the data are, for reports.
        device: where it is fitted, ``cpu`` or ``cuda``; the run comes back to the processor.
        cluster: who searches, in a fit by evidence; see ``inference.cluster.workers``.
        report: called after every validation; in a notebook bars are shown by themselves.
        folder: where the run is saved, with checkpoints on the way; nowhere if none is given.
        resume: go on from the checkpoint in ``folder``, where the same fit left one there.

    Returns:
        The run: model, guide, how the fit ended, and a reference of what is ordinary.

    Raises:
        InputError: data that are not what the model asks for; another run is in ``folder``.

    Warns:
        RuntimeWarning: the fit left the finite numbers, and the run is the last good state; or it
            ended on a plateau, or found no modes (``inference.plateau``).

    """
    train, held = (data, valid) if valid is not None else apart(data)
    own: dict[str, Any] = {"recipe": recipe, "guide": guide, "priors": priors, "seed": seed}
    run = prepare(model, train, variant=variant, trained_on=trained_on, **own)
    means = Means(device, cluster, penalties or {}, report or bars())
    if folder is None:
        fitted = execute(run, train, held, means)
    else:
        from groundvae.inference.keeping import keep  # which fits by ``execute``

        fitted = keep(Path(folder), run, train, held, means, resume=resume)
    _warn_of(fitted, held)
    return fitted


def _warn_of(run: Run, held: Dataset) -> None:
    if run.fit.ending is Ending.DIVERGED:
        said = f"the fit {run.fit.stop}, so what it says is that of a fit half done"
    else:
        said = plateau.told(run, held)
    if said:
        warnings.warn(said, RuntimeWarning, stacklevel=3)


def apart(data: Dataset) -> tuple[Dataset, Dataset]:
    """Observations to fit and others to validate on; of a few, or one group, all are for both."""
    alone = len(set(data.labels.get("group", "01"))) < 2
    return (data, data) if alone or len(data) < FEW else data.split(SHARE, seed=0)


def prepare(
    model: GreyBox | str,
    data: Dataset,
    *,
    variant: str = "",
    recipe: Recipe | None = None,
    guide: str | GuideFactory | None = None,
    priors: Mapping[str, TorchDistribution] | None = None,
    seed: int | None = None,
    trained_on: str = "",
) -> Run:
    """The unfitted run of ``fit``."""
    if isinstance(model, str):
        entry = find_system(model)
        name, variant = model, variant or entry.usual
        recipe = recipe or entry.variant(variant).recipe
    else:
        name, variant = type(model.system).__name__, ""  # a model is its own variant
        recipe = recipe or model.recipe()
    if guide is not None:
        recipe = replace(recipe, guide=guide if isinstance(guide, str) else _name_of(guide))
    if seed is not None:
        recipe = replace(recipe, options=replace(recipe.options, seed=seed))
    given = model if not isinstance(model, str) else _built(model, variant, recipe)
    check_units(data.units, given.system.units)
    batch = Batch.of(data.declare(given.system.inputs))
    _refuse_constant(data)
    given.noise.given(batch)  # which refuses what it cannot take
    given.prepare(batch)
    length, known = data.x.shape[1], describe(data)
    config = RunConfig(name, length, variant, recipe, trained_on=trained_on, known=known)
    factory = None if isinstance(guide, str) else guide
    return new_run(config, priors, model=given, guide=factory)


def _refuse_constant(data: Dataset) -> None:
    """There is nothing to learn of a scale where nothing differs."""
    low, high = float(np.nanmin(data.x)), float(np.nanmax(data.x))
    if low == high:
        raise InputError(f"every sample of the data is {low:g}, expected values that differ")


def _name_of(guide: GuideFactory) -> str:
    """Under which a saved run finds a guide again: that it has, or was given."""
    own: str = getattr(guide, "__qualname__", type(guide).__qualname__)
    return GUIDES.name_of(guide) or own


def _built(system: str, variant: str, recipe: Recipe) -> GreyBox:
    """A system's variant, its parameters drawn from the recipe's seed."""
    torch.manual_seed(recipe.options.seed)
    return find_system(system).build(variant)


def execute(
    run: Run,
    train: Dataset,
    valid: Dataset,
    means: Means = Means(),
    checkpoints: Checkpoints | None = None,
) -> Run:
    """Fit an unfitted run in place, and learn what is ordinary where the fit did not diverge.

    Raises:
        InputError: on a ``cluster``, a fit that is not by evidence, or one on a card.

    """
    check_spread(run.guide, means.cluster, means.device)
    with workers(means.cluster) as group, run.guide.computed_by(group):
        return _execute(run, train, valid, means, checkpoints)


def check_spread(guide: Guide, cluster: str, device: str) -> None:
    """Refuse a ``cluster`` for a fit that does not go to several workers.

    Raises:
        InputError: it is one of gradients, or on a card.

    """
    if cluster != NONE and not guide.spreads:
        raise InputError(
            f"--cluster is {cluster!r}, but this fit takes one gradient step after the other, "
            "expected a fit by evidence (a variant or guide of modes, see `list`), or none"
        )
    if cluster != NONE and device != "cpu":
        raise InputError(f"--cluster is {cluster!r}, expected no --device {device} beside it")


def _execute(
    run: Run, train: Dataset, valid: Dataset, means: Means, checkpoints: Checkpoints | None
) -> Run:
    train, valid = (part.declare(run.model.system.inputs) for part in (train, valid))
    both = torch.nn.ModuleList([run.model, run.guide]).to(means.device)
    fitted, held = run.batch(train), run.batch(valid)
    loss = run.loss()
    for name, penalty in means.penalties.items():
        loss.penalties[name] = penalty
        loss.weights[name] = run.config.how.weights.get(name, 1.0)
    options, report = run.config.options, means.report
    check_shared(run)
    resumed = checkpoints is not None and checkpoints.resumed is not None
    for _ in range(SWEEPS if run.model.shared and not resumed else 0):
        run.fit = optimize(run.model, run.guide, loss, fitted, held, options, report)
        if run.fit.ending in (Ending.INTERRUPTED, Ending.DIVERGED):
            return run
        agree(run, fitted)
    run.fit = optimize(run.model, run.guide, loss, fitted, held, options, report, checkpoints)
    if run.fit.ending is not Ending.DIVERGED:
        found, run.fit.found = run.fit.found, None
        run.ood_reference = learn_reference(run.model, run.guide, fitted, held, found)
    both.cpu()
    if run.fit.ending is not Ending.DIVERGED:
        run.population = learn_population(run, run.batch(train))
    return run
