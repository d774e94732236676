"""``check``: do the priors of a system allow the data, before any fit?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from groundvae.cli.console import note, say, set_threads
from groundvae.cli.source import assigned, default_splits, read_data
from groundvae.data.atomic import check_writable
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.unusable import usable
from groundvae.diagnostics.priorpredictive import PriorPredictive, compute_priorpredictive
from groundvae.diagnostics.style import save_figure
from groundvae.inference.fit import prepare
from groundvae.inference.prior import prior_predictive
from groundvae.inference.run import Run
from groundvae.models.catalogue import Entry
from groundvae.models.ownfile import find_system
from groundvae.models.prior import parse_priors


@dataclass(frozen=True)
class Check:
    """Check before a fit whether the priors allow the data (prior predictive check)."""

    system: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYSTEM")]
    """Name of the system, see `list`."""
    data: Path | None = None
    """An .npz to check against. Without: the system's own training data."""
    root: Path | None = None
    """Folder of measured data, for systems that have them; see the command `data`."""
    variant: str = ""
    """nn-only, nn-solver, physics-only, hybrid, or hybrid-reg; default the usual one."""
    prior: tuple[str, ...] = ()
    """Priors to swap, such as 'omega=LogNormal(0.5, 0.4)'."""
    draws: int = 500
    """Draws of the prior."""
    seed: int = 0
    """Of the draws, and of the residual that is not fitted yet."""
    out: Path | None = None
    """The figure to write, a .png; a .svg appears beside it. Default SYSTEM-prior.png."""
    threads: int | None = None
    """Processor threads; default one, or a few where observations are large."""

    def run(self) -> None:
        entry = find_system(self.system)
        path = self.out or Path(f"{self.system}-prior.png")
        if path.suffix != ".png":
            raise InputError(f"{path}: expected a name that ends in .png")
        check_writable(path)
        data = self.load(entry)
        set_threads(self.threads, data.x[0].size)
        drawn = prior_predictive(self.build(data), data, draws=self.draws, seed=self.seed)
        result = compute_priorpredictive(drawn)
        verdict = PriorPredictive().judge(result)
        names = {"quantity": entry.system.quantity, "unit": entry.system.unit}
        save_figure(PriorPredictive().plot(result.assign_attrs(names)), path)
        say(f"{verdict.level}: {verdict.name}. {verdict.meaning}")
        outside = 100 * result.attrs["outside"]
        say(f"{outside:.1f} % of the samples are outside the prior's 99 % band")
        say(f"figure: {path}")

    def load(self, entry: Entry) -> Dataset:
        """What to check against."""
        if self.data is not None:
            data = read_data(self.data, entry)
            return data.subset(usable(data))
        splits = default_splits(entry, self.root)
        note(f"checking against the training data: {splits.source}")
        return splits.train

    def build(self, data: Dataset) -> Run:
        """The unfitted run that the options describe."""
        priors = parse_priors(assigned("--prior", self.prior))
        return prepare(self.system, data, variant=self.variant, priors=priors, seed=self.seed)
