"""``diagnose``: metrics, figures and a report of a run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from groundvae.cli.commands import Diagnose
from groundvae.cli.console import note, say, set_threads, show_metrics
from groundvae.cli.device import check_device
from groundvae.cli.doubts import warn_of_run
from groundvae.cli.posterior import told
from groundvae.cli.source import default_splits, read_data
from groundvae.cli.streaming import on_workers
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.unusable import usable
from groundvae.diagnostics.diagnose import diagnose
from groundvae.diagnostics.report import summary
from groundvae.diagnostics.style import choose
from groundvae.inference import arviz as az
from groundvae.inference.cluster import NONE, check_cluster
from groundvae.inference.inferencedata import assembled, save_inference_data
from groundvae.inference.nuts import NutsOptions, nuts
from groundvae.inference.observed import observations_of
from groundvae.inference.posterior import posterior
from groundvae.inference.run import Run, load_run


def run(asked: Diagnose) -> None:
    if asked.nuts < 0:
        raise InputError(f"--nuts is {asked.nuts}, expected 0 or more")
    check_cluster(asked.cluster)
    check_device(asked.device)
    run = load_run(asked.run_folder)
    other = None if asked.against is None else load_run(asked.against)
    if other is not None and not set(other.model.latents.names) & set(run.model.latents.names):
        raise InputError(f"{asked.against}: has no physics latent of {asked.run_folder}")
    inference_data, data = drawn_for(asked, run) if asked.posterior is None else stored(asked, run)
    reference = reference_of(asked, run, data) if asked.nuts else None
    found = diagnose(
        run, inference_data, asked.run_folder, reference, against=other, show=asked.show
    )
    if asked.keep_posterior and asked.posterior is None:
        save_inference_data(inference_data, asked.run_folder / "posterior.nc")
    show_metrics(f"{run.config.system}, {run.config.variant}", found.metrics)
    say(summary(found.verdicts))
    for verdict in found.verdicts:
        if verdict.level == "bad":
            say(f"bad: {verdict.name}: {verdict.meaning}")
    figures = sorted(p.name for p in asked.run_folder.glob("*.png"))
    say(f"figures in {asked.run_folder}: {', '.join(figures)}")
    say(f"report: {asked.run_folder / 'report.html'}")
    for answer in found.answers.values():
        say(str(answer))


def drawn_for(asked: Diagnose, run: Run) -> tuple[az.InferenceData, Dataset]:
    """New draws, and the observations that they are of."""
    if asked.data is None:
        splits = default_splits(run.entry, asked.root)
        data, source = splits.test, splits.source
        note(f"diagnosing on {len(data)} observations: {source}")
    else:
        data, source = read_data(asked.data, run.entry, asked.reading), str(asked.data)
        data = data.subset(usable(data))
    refuse_absent(asked, len(data))
    warn_of_run(run, asked.run_folder, data)
    note(set_threads(asked.threads, data.x[0].size))
    inference_data = drawn(asked, run, data)
    if "unusable" in inference_data["constant_data"]:  # their prior says nothing of the run
        good = ~inference_data["constant_data"]["unusable"].values
        note(f"WARNING: {(~good).sum()} observations without a finite posterior are left out")
        data = data.subset(np.flatnonzero(good))
        inference_data = drawn(asked, run, data)
    inference_data.attrs["source"] = source
    return inference_data, data


def stored(asked: Diagnose, run: Run) -> tuple[az.InferenceData, Dataset]:
    """Draws that are stored already, and the observations that they are of."""
    path = asked.posterior
    assert path is not None
    given = [k for k in ("data", "root") if getattr(asked, k) is not None]
    if given:
        raise InputError(
            f"--{given[0]}: the observations are those of --posterior, expected one of the two"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected draws that `posterior` stored")
    try:
        found = az.from_netcdf(path)
        data = observations_of(found, run.model.system)
        of = {k: str(found.attrs[k]) for k in ("system", "variant", "guide")}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: no draws of a run, expected what `posterior` stored") from error
    config = run.config
    own = {"system": config.system, "variant": config.variant, "guide": config.how.guide}
    other = [k for k in own if own[k] != of[k]]
    if other:
        raise InputError(f"{path}: is of the {other[0]} {of[other[0]]}, expected {own[other[0]]}")
    if "unusable" in found["constant_data"]:
        raise InputError(f"{path}: some observations have no posterior, expected --data instead")
    refuse_absent(asked, len(data))
    warn_of_run(run, asked.run_folder, data)
    note(f"diagnosing {path}, {set_threads(asked.threads, data.x[0].size)}")
    found.attrs["source"] = str(found.attrs.get("source", path))
    return found, data


def refuse_absent(asked: Diagnose, count: int) -> None:
    """Stop where an observation is to be shown that is not there."""
    absent = [i for i in asked.show if not 0 <= i < count]
    if absent:
        raise InputError(f"--show {absent[0]}: there are observations 0 to {count - 1}")


def drawn(asked: Diagnose, run: Run, data: Dataset) -> az.InferenceData:
    """The posterior, by this process or by workers: the same draws."""
    if asked.cluster == NONE:
        found = posterior(run.to(asked.device), data, asked.options)
        run.to("cpu")
        return found
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary) / "posterior.zarr"
        found = on_workers(
            asked.run_folder, data, place, asked.options, asked.cluster, device=asked.device
        )
        return found.load()


def reference_of(asked: Diagnose, run: Run, data: Dataset) -> az.InferenceData:
    """The posterior of some observations by NUTS, with their positions among all."""
    chosen = choose(len(data), asked.nuts)
    settings = NutsOptions()
    drawn = nuts(run, data.subset(chosen), settings, told(settings))
    if asked.keep_posterior:
        sampled = drawn.assign_coords(observation=chosen)
        save_inference_data(sampled, asked.run_folder / "nuts.nc")
    posterior = drawn["posterior"].assign_coords(observation=chosen)
    return assembled({"posterior": posterior})
