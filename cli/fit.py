"""``fit``: train a model and its guide, and save the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro
from pyro.distributions import TorchDistribution

from groundvae.cli.console import err, note, say, set_threads
from groundvae.cli.progress import reporting
from groundvae.cli.source import (
    assigned,
    default_splits,
    once,
    read_data,
    tuned,
    usual_options,
    usual_recipe,
)
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.unusable import usable
from groundvae.guides.catalogue import build_guide
from groundvae.guides.options import GuideOptions, guide_options
from groundvae.guides.phase import Ending
from groundvae.inference.checkpoint import Checkpoint
from groundvae.inference.fit import prepare
from groundvae.inference.interruption import stopped_by
from groundvae.inference.keeping import fit_in, resume
from groundvae.inference.plateau import told
from groundvae.inference.preset import build_loss
from groundvae.inference.run import Run, check_folder
from groundvae.models.catalogue import Entry
from groundvae.models.ownfile import find_system
from groundvae.models.prior import parse_priors
from groundvae.models.priorfile import read_priors
from groundvae.models.recipe import FitOptions, Recipe

# Of a fit's options, those that a checkpoint keeps beside the config of the run.
BEGUN = ("system", "data", "root", "refuse_missing", "device", "threads")


@dataclass(frozen=True)
class Fit:
    """Fit a grey-box model and its guide to observations, and save the run."""

    system: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYSTEM")] = ""
    """Name of the system, see `list`."""
    data: Path | None = None
    """An .npz to fit; a fifth of it validates. Without: the system's own simulated data."""
    root: Path | None = None
    """Folder of measured data, for systems that have them; see the command `data`."""
    variant: str = ""
    """nn-only, nn-solver, physics-only, hybrid, or hybrid-reg (with the penalties); the default is
    the system's usual one."""
    guide: str | None = None
    """Structure and family of the posterior, see `list`; the default is the system's usual one."""
    guide_options: Annotated[GuideOptions, tyro.conf.arg(name="guide")] = field(
        default_factory=GuideOptions
    )
    prior: tuple[str, ...] = ()
    """Priors to swap, such as 'omega=LogNormal(0.5, 0.4)'. Hierarchical: 'omega=LogNormal(mu, s)'
    'mu=Normal(0.5, 1)' 's=HalfNormal(0.5)'."""
    priors_file: Annotated[Path | None, tyro.conf.arg(name="priors")] = None
    """A TOML file of priors, a line each: omega = "LogNormal(0.5, 0.4)"; `--prior` goes first."""
    loss: str | None = None
    """exact, regularized or paper; the default is regularized for hybrid-reg, else exact."""
    weight: tuple[str, ...] = ()
    """Weights of penalties to change, such as ppc=0.001; 0 switches one off."""
    refuse_missing: bool = False
    """Stop if observations have missing samples (NaN) instead of masking them."""
    device: str = "cpu"
    """Where to compute, cpu or cuda."""
    threads: int | None = None
    """Processor threads; default one, or a few where observations are large. The same numbers come
    back only under the same count."""
    out: Path | None = None
    """Folder of the run; default runs/SYSTEM."""
    overwrite: bool = False
    """Replace a run that is there already; one that ended well only by one that does too."""
    resume: Path | None = None
    """Go on with a fit that was stopped, from the last checkpoint in its folder, with all that
    it was begun with."""
    options: Annotated[FitOptions, tyro.conf.arg(name="")] = field(default_factory=usual_options)

    def run(self) -> None:
        """The command."""
        self.execute()

    def execute(self) -> Run:
        """Fit and save; the run stands in its folder even if this raises."""
        if self.resume is not None:
            return self.go_on(self.resume)
        if not self.system:
            raise InputError("SYSTEM is missing, expected its name (see `list`) or --resume RUN")
        entry = find_system(self.system)
        folder = self.out or Path("runs") / self.system
        check_folder(folder, overwrite=self.overwrite)
        self.check(entry)
        train, valid, source = self.load(entry)
        threads = set_threads(self.threads, train.x[0].size)
        run = self.unfitted(entry, train, source)
        what = f"{self.system} ({run.config.variant}, {run.config.how.guide})"
        note(f"fitting {what} on {len(train)} observations, {threads}")
        return replace(self, threads=torch.get_num_threads()).fit(run, train, valid, folder)

    def go_on(self, folder: Path) -> Run:
        """The rest of a fit that was stopped."""
        if self != Fit(resume=folder):
            raise InputError("--resume goes on as the fit was begun, expected no other option")
        run, checkpoint = resume(folder)
        known = {k: checkpoint.values["begun"][k] for k in BEGUN}
        paths = {k: known[k] and Path(known[k]) for k in ("data", "root")}
        begun = Fit(**known | paths)
        check_device(begun.device)
        set_threads(begun.threads)
        train, valid, _ = begun.load(find_system(begun.system))
        note(f"going on with {folder} at step {checkpoint.values['fit']['steps']}")
        return begun.fit(run, train, valid, folder, checkpoint)

    def check(self, entry: Entry) -> None:
        """Refuse what cannot be built before data are read or simulated."""
        check_device(self.device)
        recipe = self.recipe(entry)
        model = entry.build(self.variant, self.swapped())
        build_guide(recipe.guide, model, 1, guide_options(recipe.guide_options))
        build_loss(recipe.loss, recipe.weights)

    def recipe(self, entry: Entry) -> Recipe:
        """The variant's own, with what was typed in its place."""
        usual = usual_recipe(entry, self.variant, self.loss)
        return Recipe(
            loss=usual.loss,
            weights={**usual.weights, **_weights(self.weight)},
            guide=self.guide or usual.guide,
            guide_options={**usual.guide_options, **self.guide_options.given()},
            options=tuned(usual.options, self.options),
            double=usual.double,
        )

    def swapped(self) -> dict[str, TorchDistribution]:
        """The priors to swap, by the name of their latent."""
        written = {} if self.priors_file is None else read_priors(self.priors_file)
        return parse_priors(written | assigned("--prior", self.prior))

    def load(self, entry: Entry) -> tuple[Dataset, Dataset, str]:
        """Training and validation data, and where they come from."""
        if self.data is None:
            splits = default_splits(entry, self.root)
            return splits.train, splits.valid, splits.source
        data = read_data(self.data, entry, refuse_missing=self.refuse_missing)
        train, valid = data.subset(usable(data)).split(0.8, seed=0)
        return train, valid, self.data.name

    def unfitted(self, entry: Entry, train: Dataset, source: str) -> Run:
        """The run that ``gv.fit`` would fit."""
        return prepare(
            self.system,
            train,
            variant=self.variant,
            recipe=self.recipe(entry),
            priors=self.swapped(),
            trained_on=source,
        )

    def begun(self) -> dict[str, str | int | bool | None]:
        """What it takes to find the data again, as plain values."""
        known = {name: getattr(self, name) for name in BEGUN}
        paths = {k: known[k] and str(known[k].resolve()) for k in ("data", "root")}
        return known | paths

    def fit(
        self,
        run: Run,
        train: Dataset,
        valid: Dataset,
        folder: Path,
        resumed: Checkpoint | None = None,
    ) -> Run:
        """Fit a run, kept in its folder, with progress on stderr; then say how it ended."""
        with reporting(err) as report:
            place = fit_in(
                folder,
                run,
                train,
                valid,
                device=self.device,
                report=report,
                begun=self.begun(),
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
