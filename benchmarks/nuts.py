"""A fitted pendulum's guide against NUTS on the same model, for some series of the test data.

Samples the series FIRST to LAST - 1 and keeps the draws; a second call with other series adds
these. Prints the ratio of standard deviations, shift and Wasserstein distance of omega for each
series that was sampled so far.

    python benchmarks/nuts.py RUN --series 2 8 --together 6 --draws 400 --warmup 200
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro
import xarray as xr
from rich.console import Console
from rich.table import Table

from groundvae.cli.source import TEST
from groundvae.data.dataset import Dataset
from groundvae.diagnostics.guide_vs_nuts import GuideVsNuts, compute_guide_vs_nuts
from groundvae.inference import arviz as az
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.nuts import NutsOptions, nuts
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, load_run
from groundvae.models.ownfile import find_system

COLUMNS = ("sd_ratio", "shift", "wasserstein", "rhat")
console = Console(width=120)


@dataclass(frozen=True)
class Options:
    """What to sample."""

    run: Annotated[Path, tyro.conf.Positional]
    """A folder that ``fit`` or ``paper_table.py`` left."""
    series: tuple[int, int] = (0, 8)
    """The first of the test series, and the one after the last."""
    nuts: Annotated[NutsOptions, tyro.conf.arg(name="")] = field(default_factory=NutsOptions)
    out: Path = Path("runs/nuts")
    latent: str = "omega"
    threads: int = 1


def sample(run: Run, data: Dataset, options: Options) -> None:
    """NUTS of the chosen series, unless their draws are there."""
    first, last = options.series
    path = options.out / f"{first}-{last}.nc"
    if path.is_file():
        return

    def watch(step: int, total: int) -> None:
        if step % 50 == 0:
            console.print(f"series {first} to {last - 1}: step {step} of {total}")

    found = nuts(run, data.subset(slice(first, last)), options.nuts, watch)
    options.out.mkdir(parents=True, exist_ok=True)
    save_inference_data(found, path)


def compare(run: Run, data: Dataset, path: Path) -> xr.Dataset:
    """The guide beside the draws of one file, for its series."""
    first, last = (int(text) for text in path.stem.split("-"))
    guide = posterior(run, data.subset(slice(first, last)), PosteriorOptions(draws=2000))
    result = compute_guide_vs_nuts(guide, az.from_netcdf(str(path)))
    return result.assign_coords(observation=range(first, last))


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    run = load_run(options.run)
    data = find_system("pendulum").source.simulate(*TEST)
    sample(run, data, options)
    paths = sorted(options.out.glob("*-*.nc"))
    parts = [compare(run, data, path) for path in paths]
    of_latent = xr.concat(
        [part[list(COLUMNS)].sel(latent=options.latent) for part in parts], "observation"
    )
    table = Table("series", *COLUMNS)
    for series in of_latent["observation"].values:
        row = of_latent.sel(observation=series)
        table.add_row(str(series), *(f"{float(row[column]):.3g}" for column in COLUMNS))
    table.add_row("median", *(f"{float(of_latent[c].median()):.3g}" for c in COLUMNS))
    console.print(table)
    for part, path in zip(parts, paths, strict=True):
        GuideVsNuts().plot(part).savefig(path.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main(tyro.cli(Options))
