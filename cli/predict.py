"""``predict``: what a fitted run says under interventions and beyond the data's last time."""

from __future__ import annotations

import math

from groundvae.cli.commands import Predict, Reading
from groundvae.cli.console import say, set_threads
from groundvae.cli.device import check_device
from groundvae.cli.doubts import warn_of_run, warn_of_unusable, warn_of_unusual
from groundvae.cli.source import once, read_data
from groundvae.cli.streaming import is_streamed, stream
from groundvae.data.errors import InputError
from groundvae.inference.inferencedata import save_inference_data
from groundvae.inference.posterior import posterior
from groundvae.inference.run import load_run
from groundvae.models.intervention import parse_intervention


def run(asked: Predict) -> None:
    streamed = is_streamed(asked.out, asked.cluster)
    check_device(asked.device)
    if asked.until is not None and not math.isfinite(asked.until):
        raise InputError(f"--until is {asked.until}, expected a time in seconds")
    changes = once("--do", (parse_intervention(text) for text in asked.do))
    if streamed:
        if asked.reading != Reading():
            raise InputError("--columns and --window are for .nc, expected none of them with .zarr")
        stream(asked, changes=changes, until=asked.until)
        return
    run = load_run(asked.run_folder).to(asked.device)
    data = read_data(asked.data, run.entry, asked.reading, refuse_missing=asked.refuse_missing)
    warn_of_run(run, asked.run_folder, data)
    threads = set_threads(asked.threads, data.x[0].size)
    predicted = posterior(run, data, asked.options, changes=changes, until=asked.until)
    warn_of_unusual(predicted)
    warn_of_unusable(predicted)
    save_inference_data(predicted, asked.out)
    say(f"wrote predictions for {len(data)} observations to {asked.out}, {threads}")
