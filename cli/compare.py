"""``compare``: cross variants, guides, priors and seeds; one row a cell."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from uuid import uuid4

import torch

from groundvae.cli.commands import Compare, Fit
from groundvae.cli.comparison import plot_comparison
from groundvae.cli.console import note, say, set_threads, telling_to
from groundvae.cli.device import check_device
from groundvae.cli.fit import check_converged, fit_and_save, unfitted
from groundvae.cli.source import assigned, default_splits, once, usual_recipe
from groundvae.cli.usual import tuned
from groundvae.data.atomic import check_writable, digest_of, replacing
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.diagnostics import standin
from groundvae.diagnostics.generation import generation_metrics
from groundvae.diagnostics.metrics import compute_metrics
from groundvae.guides.catalogue import GUIDES
from groundvae.inference.checkpoint import FILE as CHECKPOINT
from groundvae.inference.cluster import NONE, check_cluster, workers
from groundvae.inference.posterior import posterior
from groundvae.inference.run import Run, load_run
from groundvae.models.ownfile import find_system
from groundvae.models.prior import parse_priors

KEYS = ("variant", "guide", "prior", "seed")
WORDS = ("told", "folder", "failure")
"""Columns that are neither keys nor numbers; ``told``: of the shape of what is missing."""
Row = dict[str, str | float]
"""Of the table, by column."""


@dataclass(frozen=True)
class Cell:
    """One fit of the comparison."""

    variant: str
    guide: str
    prior: str
    seed: int

    def __str__(self) -> str:
        return f"{self.variant} {self.guide} {self.prior} seed {self.seed}"

    @property
    def folder(self) -> str:
        """A folder name of its own; everything that is no plain letter or digit becomes -."""
        text = f"{self.variant}_{self.guide}_{self.prior}_{self.seed}"
        return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


class Shared:
    """What all cells are fitted to and measured on."""

    def __init__(self, system: str, root: Path | None) -> None:
        self.entry = find_system(system)
        self.splits = default_splits(self.entry, root)

    @cached_property
    def digest(self) -> str:
        """Of every value of the data."""
        return "".join(getattr(self.splits, part).digest() for part in ("train", "valid", "test"))

    def digest_of_fit(self, command: Fit) -> str:
        """Of all that makes a cell: the whole config of its run, and the data."""
        run = unfitted(command, self.entry, self.splits.train, self.splits.source)
        return digest_of((json.dumps(asdict(run.config)) + self.digest).encode())


@lru_cache(maxsize=1)
def shared_by(system: str, root: Path | None, call: str) -> Shared:
    """Made once by each worker and ``call``, however many cells it does."""
    return Shared(system, root)


def run(asked: Compare) -> None:
    check_cluster(asked.cluster)
    check_device(asked.device)
    check(asked)
    cells = list(cells_of(asked))
    found: dict[Cell, Row] = {}
    with workers(asked.cluster) as group:
        for cell, row in group.map(work(asked), cells):
            found[cell] = row
            rows = [found[c] for c in cells if c in found]
            note(f"[{len(rows)}/{len(cells)}] {cell}: {row['failure'] or 'done'}")
            write_tables(rows, asked.out)
    drawn = plot_comparison(rows, KEYS[:3], asked.out / "comparison.png", units(asked))
    figure = f" and {asked.out / 'comparison.png'}" if drawn else "; no cell to draw"
    say(f"wrote {asked.out / 'table.csv'}, {asked.out / 'table.md'}{figure}")
    say((asked.out / "table.md").read_text(encoding="utf-8").rstrip())
    fitted = [str(row["folder"]) for row in rows if row.get("folder")]
    if len(fitted) > 1:
        say(f"side by side: diagnose {fitted[0]} --against {fitted[1]}")
    if all(row["failure"] for row in rows):
        raise InputError(f"every cell failed, the first: {rows[0]['failure']}")


def units(asked: Compare) -> dict[str, str]:
    """Of the metrics that are drawn."""
    entry = find_system(asked.system)
    found = {
        "reconstruction_sse": f"{entry.system.unit}²" if entry.system.unit != "1" else "",
        "elbo": "nats",
    }
    found["iwae"] = "nats"
    for latent in entry.build().latents:
        found |= {f"{latent.name}_{what}": latent.unit for what in ("mae", "crps")}
        found[f"{latent.name}_cov90"] = "share of truths"
    return found


def check(asked: Compare) -> None:
    """Refuse unknown names before hours of work."""
    entry = find_system(asked.system)
    for option in ("variants", "guides", "priors", "seeds"):
        once(f"--{option}", ((str(value), value) for value in getattr(asked, option)))
    for seed in asked.seeds:
        replace(asked.options, seed=seed)  # one out of range is refused
    for variant in asked.variants:
        entry.build(variant)
    for guide in asked.guides:
        GUIDES[guide]
    for prior in asked.priors:
        if prior != "default":
            entry.build(priors=parse_priors(assigned("--priors", prior.split(";"))))
    check_writable(asked.out / "table.csv")


def cells_of(asked: Compare) -> Iterator[Cell]:
    entry = find_system(asked.system)
    for variant in asked.variants or tuple(entry.variants):
        guides = asked.guides or (entry.variant(variant).recipe.guide,)
        for guide, prior, seed in product(guides, asked.priors, asked.seeds):
            yield Cell(variant, guide, prior, seed)


def work(asked: Compare) -> Callable[[Cell], tuple[Cell, Row]]:
    """What is done with each cell, here or by a worker."""
    asked = replace(asked, out=asked.out.resolve())
    if asked.cluster != NONE:
        return partial(measure_apart, asked, uuid4().hex)
    shared = Shared(asked.system, asked.root)
    note(set_threads(asked.threads, shared.splits.train.x[0].size))
    return partial(measure, asked, shared)


def measure_apart(asked: Compare, call: str, cell: Cell) -> tuple[Cell, Row]:
    """``measure`` by a worker, which tells its progress to a file of the cell's own."""
    asked.out.mkdir(parents=True, exist_ok=True)
    with telling_to(asked.out / f"{cell.folder}.log"):
        return measure(asked, shared_by(asked.system, asked.root, call), cell)


def measure(asked: Compare, shared: Shared, cell: Cell) -> tuple[Cell, Row]:
    """Fit (unless that is done), measure (likewise); a failure becomes part of the row."""
    note(f"{cell}")
    told = shared.entry.variant(cell.variant).knows or "nothing"
    identity = {key: getattr(cell, key) for key in KEYS} | {"told": told}
    try:
        command = command_of(asked, cell)
        folder = asked.out / f"{cell.folder}_{shared.digest_of_fit(command)[:12]}"
        cache = folder / "cell.json"
        run = _fitted(replace(command, out=folder), folder, shared)
        if not cache.is_file():
            with replacing(cache) as temporary:
                text = json.dumps(_metrics(run, shared.splits.test, asked.device), indent=2) + "\n"
                temporary.write_text(text, encoding="utf-8")
        measured: dict[str, float] = json.loads(cache.read_text(encoding="utf-8"))
        return cell, identity | measured | {"folder": str(folder), "failure": ""}
    except (InputError, ArithmeticError, RuntimeError, ValueError) as error:
        note(f"  failed: {error}")
        return cell, identity | {"failure": str(error)}


def _metrics(run: Run, test: Dataset, device: str) -> dict[str, float]:
    metrics = compute_metrics(posterior(run.to(device), test))
    metrics |= generation_metrics(run.to("cpu"), test)
    metrics["fit_seconds"] = run.fit.seconds
    if standin.is_stand_in(run):
        metrics[standin.METRIC] = 1.0
    return metrics


def command_of(asked: Compare, cell: Cell) -> Fit:
    """The fit of a cell."""
    usual = usual_recipe(find_system(asked.system), cell.variant, None)
    return Fit(
        system=asked.system,
        variant=cell.variant,
        guide=cell.guide,
        prior=() if cell.prior == "default" else tuple(cell.prior.split(";")),
        root=asked.root,
        threads=torch.get_num_threads(),
        device=asked.device,
        options=replace(tuned(usual.options, asked.options), seed=cell.seed),
    )


def _fitted(command: Fit, folder: Path, shared: Shared) -> Run:
    """The run of a cell: as it is, or gone on with, or fitted."""
    if (folder / CHECKPOINT).is_file():
        return fit_and_save(Fit(resume=folder), shared.splits)
    if (folder / "config.json").is_file():
        return check_converged(load_run(folder), folder)
    return fit_and_save(command, shared.splits)


def write_tables(rows: Sequence[Row], folder: Path) -> None:
    """``table.csv``: every cell; ``table.md``: mean and standard deviation over seeds.

    The groups of the latter are in the order of their evidence, the best first.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with (
        replacing(folder / "table.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    numbers = [c for c in columns if c not in KEYS and c not in WORDS]
    lines = ["| " + " | ".join([*KEYS[:3], "told", "seeds", *numbers, "failures"]) + " |"]
    lines.append("|" + " --- |" * (len(numbers) + 6))
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[k]) for k in KEYS[:3]), []).append(row)
    for key, group in ranked(groups):
        good = [row for row in group if not row["failure"]]
        cells = [_mean_and_spread([float(r[n]) for r in good if n in r]) for n in numbers]
        shown = [*key, str(group[0]["told"]), str(len(good)), *cells, str(len(group) - len(good))]
        lines.append("| " + " | ".join(shown) + " |")
    with replacing(folder / "table.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def ranked(
    groups: Mapping[tuple[str, ...], list[Row]],
) -> list[tuple[tuple[str, ...], list[Row]]]:
    """Groups of cells by their mean evidence: the guides' own where all say it, else the bound."""

    def score(group: Sequence[Row], metric: str) -> float:
        found = [float(row[metric]) for row in group if not row["failure"] and metric in row]
        return mean(found) if found else -math.inf

    fitted = [group for group in groups.values() if any(not row["failure"] for row in group)]
    own = all(score(group, "log_evidence") > -math.inf for group in fitted)
    metric = "log_evidence" if own else "iwae"
    return sorted(groups.items(), key=lambda item: -score(item[1], metric))


def _mean_and_spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {stdev(values):.2g}" if len(values) > 1 else ""
    return f"{mean(values):.4g}{spread}"
