"""``diagnose``: metrics, figures and a report of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import arviz as az
import numpy as np
import tyro

from groundvae.cli.console import note, say, set_threads, show_metrics
from groundvae.cli.doubts import warn_of_run
from groundvae.cli.posterior import Options, told
from groundvae.cli.source import default_splits, read_data
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.unusable import usable
from groundvae.diagnostics.diagnose import diagnose, read_verdicts
from groundvae.diagnostics.report import summary
from groundvae.diagnostics.style import choose
from groundvae.inference.inferencedata import assembled, save_inference_data
from groundvae.inference.nuts import NutsOptions, nuts
from groundvae.inference.posterior import PosteriorOptions, posterior
from groundvae.inference.run import Run, load_run


@dataclass(frozen=True)
class Diagnose:
    """Measure a run on held-out observations: metrics.json, figures, report.html."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder that `fit` wrote; the results go there too."""
    data: Path | None = None
    """An .npz to measure on. Without: the system's own test data, simulated or measured."""
    root: Path | None = None
    """Folder of measured data, for systems that have them; see the command `data`."""
    keep_posterior: bool = False
    """Store the posterior as RUN/posterior.nc as well, and that of --nuts as RUN/nuts.nc."""
    nuts: int = 0
    """Compare the guide with NUTS on so many of the observations; takes minutes."""
    threads: int | None = None
    """Processor threads; default one, or a few where observations are large."""
    options: Options = field(default_factory=PosteriorOptions)

    def run(self) -> None:
        if self.nuts < 0:
            raise InputError(f"--nuts is {self.nuts}, expected 0 or more")
        run = load_run(self.run_folder)
        if self.data is None:
            splits = default_splits(run.entry, self.root)
            data = splits.test
            note(f"diagnosing on {len(data)} observations: {splits.source}")
        else:
            data = read_data(self.data, run.entry)
            data = data.subset(usable(data))
        warn_of_run(run, self.run_folder, data)
        note(set_threads(self.threads, data.x[0].size))
        inference_data = posterior(run, data, self.options)
        if "unusable" in inference_data["constant_data"]:  # their prior says nothing of the run
            good = ~inference_data["constant_data"]["unusable"].values
            note(f"WARNING: {(~good).sum()} observations without a finite posterior are left out")
            data = data.subset(np.flatnonzero(good))
            inference_data = posterior(run, data, self.options)
        inference_data.attrs["source"] = splits.source if self.data is None else str(self.data)
        if self.keep_posterior:
            save_inference_data(inference_data, self.run_folder / "posterior.nc")
        reference = self.reference(run, data) if self.nuts else None
        metrics = diagnose(run, inference_data, self.run_folder, reference)
        show_metrics(f"{run.config.system}, {run.config.variant}", metrics)
        verdicts = read_verdicts(self.run_folder)
        for verdict in verdicts:
            if verdict.level == "bad":
                say(f"bad: {verdict.name}. {verdict.meaning}")
        say(summary(verdicts))
        figures = sorted(p.name for p in self.run_folder.glob("*.png"))
        say(f"figures in {self.run_folder}: {', '.join(figures)}")
        say(f"report: {self.run_folder / 'report.html'}")

    def reference(self, run: Run, data: Dataset) -> az.InferenceData:
        """The posterior of some observations by NUTS, with their positions among all."""
        chosen = choose(len(data), self.nuts)
        settings = NutsOptions()
        drawn = nuts(run, data.subset(chosen), settings, told(settings))
        if self.keep_posterior:
            sampled = drawn.assign_coords(observation=chosen)
            save_inference_data(sampled, self.run_folder / "nuts.nc")
        posterior = drawn["posterior"].assign_coords(observation=chosen)
        return assembled({"posterior": posterior})
