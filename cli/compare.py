"""``compare``: cross variants, guides, priors and seeds; one row a cell."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import torch
import tyro

from groundvae.cli.comparison import plot_comparison
from groundvae.cli.console import note, say, set_threads
from groundvae.cli.fit import Fit, check_converged
from groundvae.cli.source import (
    SimulatedSplits,
    assigned,
    default_splits,
    once,
    tuned,
    usual_options,
    usual_recipe,
)
from groundvae.data.atomic import check_writable, digest_of, replacing
from groundvae.data.errors import InputError
from groundvae.data.root import Splits
from groundvae.diagnostics import standin
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.guides.catalogue import GUIDES
from groundvae.inference.checkpoint import FILE as CHECKPOINT
from groundvae.inference.posterior import posterior
from groundvae.inference.run import Run, load_run
from groundvae.models.ownfile import find_system
from groundvae.models.prior import parse_priors
from groundvae.models.recipe import FitOptions

KEYS = ("variant", "guide", "prior", "seed")


@dataclass(frozen=True)
class Cell:
    """One fit of the comparison."""

    variant: str
    guide: str
    prior: str
    seed: int

    @property
    def folder(self) -> str:
        """A folder name of its own; everything that is no plain letter or digit becomes -."""
        text = f"{self.variant}_{self.guide}_{self.prior}_{self.seed}"
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


@dataclass(frozen=True)
class Compare:
    """Fit and measure every combination; goes on where it stopped; writes a table, a figure."""

    system: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYSTEM")]
    """Name of the system, see `list`."""
    out: Path
    """Folder for the runs and the tables."""
    variants: tuple[str, ...] = ("nn-only", "nn-solver", "physics-only", "hybrid", "hybrid-reg")
    """Variants to cross."""
    guides: tuple[str, ...] = ()
    """Guides to cross; the default is the system's usual one."""
    priors: tuple[str, ...] = ("default",)
    """Priors to cross, each 'default' or such as 'omega=LogNormal(0.5, 0.4)'; several latents in
    one: 'omega=LogNormal(mu, 0.4); mu=Normal(0.5, 1)'."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds to cross; the tables give mean and standard deviation over them."""
    root: Path | None = None
    """Folder of measured data, for systems that have them; see the command `data`."""
    threads: int | None = None
    """Processor threads; default one, or a few where observations are large."""
    options: Annotated[FitOptions, tyro.conf.arg(name="")] = field(default_factory=usual_options)

    def run(self) -> None:
        self.check()
        note(set_threads(self.threads, self.splits.train.x[0].size))
        rows = []
        cells = list(self.cells())
        for i, cell in enumerate(cells, 1):
            note(f"[{i}/{len(cells)}] {cell.variant} {cell.guide} {cell.prior} seed {cell.seed}")
            rows.append(self.measure(cell))
            write_tables(rows, self.out)
        drawn = plot_comparison(rows, KEYS[:3], self.out / "comparison.png", self.units())
        figure = f" and {self.out / 'comparison.png'}" if drawn else "; no cell to draw"
        say(f"wrote {self.out / 'table.csv'}, {self.out / 'table.md'}{figure}")
        say((self.out / "table.md").read_text(encoding="utf-8").rstrip())
        if all(row["failure"] for row in rows):
            raise InputError(f"every cell failed, the first: {rows[0]['failure']}")

    def units(self) -> dict[str, str]:
        """Of the metrics that are drawn."""
        entry = find_system(self.system)
        found = {
            "reconstruction_sse": f"{entry.system.unit}²" if entry.system.unit != "1" else "",
            "elbo": "nats",
        }
        found["iwae"] = "nats"
        for latent in entry.build().latents:
            found |= {f"{latent.name}_{what}": latent.unit for what in ("mae", "crps")}
            found[f"{latent.name}_cov90"] = "share of truths"
        return found

    def check(self) -> None:
        """Refuse unknown names before hours of work."""
        entry = find_system(self.system)
        for option in ("variants", "guides", "priors", "seeds"):
            once(f"--{option}", ((str(value), value) for value in getattr(self, option)))
        for seed in self.seeds:
            replace(self.options, seed=seed)  # one out of range is refused
        for variant in self.variants:
            entry.build(variant)
        for guide in self.guides:
            GUIDES[guide]
        for prior in self.priors:
            if prior != "default":
                entry.build(priors=parse_priors(assigned("--priors", prior.split(";"))))
        check_writable(self.out / "table.csv")

    def cells(self) -> Iterator[Cell]:
        entry = find_system(self.system)
        for variant in self.variants:
            guides = self.guides or (entry.variant(variant).recipe.guide,)
            for guide, prior, seed in product(guides, self.priors, self.seeds):
                yield Cell(variant, guide, prior, seed)

    def measure(self, cell: Cell) -> dict[str, str | float]:
        """Fit (unless that is done), measure (likewise); a failure becomes part of the row."""
        identity = {key: getattr(cell, key) for key in KEYS}
        try:
            command = self._command(cell)
            folder = self.out / f"{cell.folder}_{self._digest(command)[:12]}"
            cache = folder / "cell.json"
            run = self._fitted(replace(command, out=folder), folder)
            if not cache.is_file():
                with replacing(cache) as temporary:
                    text = json.dumps(self._metrics(run), indent=2) + "\n"
                    temporary.write_text(text, encoding="utf-8")
            measured: dict[str, float] = json.loads(cache.read_text(encoding="utf-8"))
            return identity | measured | {"failure": ""}
        except (InputError, ArithmeticError, RuntimeError, ValueError) as error:
            note(f"  failed: {error}")
            return identity | {"failure": str(error)}

    def _metrics(self, run: Run) -> dict[str, float]:
        metrics = compute_metrics(posterior(run, self.splits.test))
        metrics["fit_seconds"] = run.fit.seconds
        if standin.is_stand_in(run):
            metrics[standin.METRIC] = 1.0
        return metrics

    @cached_property
    def splits(self) -> Splits | SimulatedSplits:
        """What every cell is fitted to and measured on."""
        return default_splits(find_system(self.system), self.root)

    @cached_property
    def _data_digest(self) -> str:
        return "".join(getattr(self.splits, part).digest() for part in ("train", "valid", "test"))

    def _digest(self, command: Fit) -> str:
        """Of all that makes a cell: the whole config of its run, and every value of the data."""
        run = command.unfitted(find_system(self.system), self.splits.train, self.splits.source)
        return digest_of((json.dumps(asdict(run.config)) + self._data_digest).encode())

    def _command(self, cell: Cell) -> Fit:
        """The fit of a cell."""
        usual = usual_recipe(find_system(self.system), cell.variant, None)
        return Fit(
            system=self.system,
            variant=cell.variant,
            guide=cell.guide,
            prior=() if cell.prior == "default" else tuple(cell.prior.split(";")),
            root=self.root,
            threads=torch.get_num_threads(),
            options=replace(tuned(usual.options, self.options), seed=cell.seed),
        )

    def _fitted(self, command: Fit, folder: Path) -> Run:
        """The run of a cell: as it is, or gone on with, or fitted."""
        if (folder / CHECKPOINT).is_file():
            return Fit(resume=folder).execute()
        if (folder / "config.json").is_file():
            return check_converged(load_run(folder), folder)
        return command.execute()


def write_tables(rows: Sequence[dict[str, str | float]], folder: Path) -> None:
    """``table.csv``: every cell; ``table.md``: mean and standard deviation over seeds."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (
        replacing(folder / "table.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    numbers = [c for c in columns if c not in KEYS and c != "failure"]
    lines = ["| " + " | ".join([*KEYS[:3], "seeds", *numbers, "failures"]) + " |"]
    lines.append("|" + " --- |" * (len(numbers) + 5))
    groups: dict[tuple[str, ...], list[dict[str, str | float]]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[k]) for k in KEYS[:3]), []).append(row)
    for key, group in groups.items():
        good = [row for row in group if not row["failure"]]
        cells = [_mean_and_spread([float(r[n]) for r in good if n in r]) for n in numbers]
        lines.append(
            "| " + " | ".join([*key, str(len(good)), *cells, str(len(group) - len(good))]) + " |"
        )
    with replacing(folder / "table.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _mean_and_spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {stdev(values):.2g}" if len(values) > 1 else ""
    return f"{mean(values):.4g}{spread}"
