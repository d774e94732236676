"""Posteriors block by block: into a Zarr folder, on workers, or both."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from groundvae.cli.commands import Posterior, Predict
from groundvae.cli.console import err, say, set_threads
from groundvae.cli.doubts import warn_of_run, warn_of_unusable, warn_of_unusual
from groundvae.cli.progress import counting
from groundvae.cli.source import FileRows
from groundvae.data.atomic import check_writable, digest_of_file
from groundvae.data.errors import InputError
from groundvae.data.rows import Rows
from groundvae.inference import arviz as az
from groundvae.inference.cluster import NONE, check_cluster
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.options import PosteriorOptions
from groundvae.inference.outofcore import posterior_to_zarr
from groundvae.inference.run import load_run
from groundvae.models.intervention import Change

KNOWN = 1000  # observations that are compared with those of the fit


def is_streamed(out: Path, cluster: str) -> bool:
    """Whether the work goes block by block; a name that is none is refused before the work."""
    check_cluster(cluster)
    if out.suffix == ".zarr":
        return True
    if out.suffix != ".nc":
        raise InputError(f"{out}: expected a name that ends in .nc or .zarr")
    check_writable(out)
    return cluster != NONE


def stream(
    asked: Posterior | Predict,
    *,
    changes: Mapping[str, Change] | None = None,
    until: float | None = None,
) -> None:
    """Infer from a file, some rows at a time, and write what is found to ``asked.out``."""
    set_threads(asked.threads)
    folder, data, out, cluster = asked.run_folder, asked.data, asked.out, asked.cluster
    run = load_run(folder)
    rows = FileRows(data, run.entry, refuse_missing=asked.refuse_missing)
    warn_of_run(run, folder, rows.subset(slice(0, min(KNOWN, len(rows)))))
    digest = digest_of_file(data)
    with tempfile.TemporaryDirectory() as temporary:
        place = out if out.suffix == ".zarr" else Path(temporary) / "posterior.zarr"
        result = on_workers(
            folder,
            rows,
            place,
            asked.options,
            cluster,
            device=asked.device,
            changes=changes,
            until=until,
            digest=digest,
        )
        warn_of_unusual(result)
        warn_of_unusable(result)
        if place != out:
            save_inference_data(result, out)
    where = "in one process" if cluster == NONE else f"on {cluster}"
    say(f"wrote {len(rows)} observations to {out}, {where}")


def on_workers(
    folder: Path,
    rows: Rows,
    place: Path,
    options: PosteriorOptions,
    cluster: str,
    *,
    device: str,
    changes: Mapping[str, Change] | None = None,
    until: float | None = None,
    digest: str = "",
) -> az.InferenceData:
    """The posterior that stands in ``place`` once all workers are done, with progress."""
    with counting(err, "observations") as progress:
        posterior_to_zarr(
            folder,
            rows,
            place,
            options,
            changes=changes,
            until=until,
            cluster=cluster,
            device=device,
            digest=digest,
            progress=progress,
        )
    from groundvae.inference.store import read_store

    return read_store(place)
