"""``predict``: what a fitted run says under interventions and beyond the data's last time."""

from __future__ import annotations

import math

from groundvae.cli.commands import Predict
from groundvae.cli.console import say, set_threads
from groundvae.cli.doubts import warn_of_run, warn_of_unusable, warn_of_unusual
from groundvae.cli.posterior import check_netcdf
from groundvae.cli.source import once, read_data
from groundvae.data.errors import InputError
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.posterior import posterior
from groundvae.inference.run import load_run
from groundvae.models.intervention import parse_intervention


def run(asked: Predict) -> None:
    check_netcdf(asked.out)
    if asked.until is not None and not math.isfinite(asked.until):
        raise InputError(f"--until is {asked.until}, expected a time in seconds")
    changes = once("--do", (parse_intervention(text) for text in asked.do))
    run = load_run(asked.run_folder)
    data = read_data(asked.data, run.entry, asked.reading, refuse_missing=asked.refuse_missing)
    warn_of_run(run, asked.run_folder, data)
    threads = set_threads(asked.threads, data.x[0].size)
    predicted = posterior(run, data, asked.options, changes=changes, until=asked.until)
    warn_of_unusual(predicted)
    warn_of_unusable(predicted)
    save_inference_data(predicted, asked.out)
    say(f"wrote predictions for {len(data)} observations to {asked.out}, {threads}")
