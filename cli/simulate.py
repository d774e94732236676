"""``simulate``: write observations with known latents, from a system or from a fitted run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from groundvae.cli.commands import Simulate
from groundvae.cli.console import note, say
from groundvae.cli.source import IMAGE_RANK, once, simulated
from groundvae.data.atomic import check_writable
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.root import STAND_IN
from groundvae.diagnostics.contactsheet import SHOWN, plot_contact_sheet
from groundvae.diagnostics.style import save_figure
from groundvae.inference.generation import generate
from groundvae.inference.run import load_run
from groundvae.models.catalogue import Entry
from groundvae.models.intervention import parse_intervention
from groundvae.models.ownfile import find_system


def run(asked: Simulate) -> None:
    entry = find_system(asked.system)
    if asked.n < 1 or asked.seed < 0:
        raise InputError("--n must be 1 or more and --seed 0 or more")
    out = _named(asked, entry)
    chosen = once("--set", (_setting(text) for text in asked.set))
    if chosen and asked.run_folder is None:
        raise InputError("--set needs a fitted run to generate from, expected --run")
    data, clean = _draw(asked, entry, chosen)
    if out.suffix == ".npz":
        data.save(out)
    else:
        save_figure(_sheet(asked, clean, chosen), out)
    say(f"wrote {asked.n} observations of {asked.system} to {out}")


def _named(asked: Simulate, entry: Entry) -> Path:
    """Where to write."""
    images = len(entry.system.axes) == IMAGE_RANK
    out = asked.out
    if out is None and images and asked.run_folder is not None:
        out = asked.run_folder / "sheet.png"
    if out is None:
        raise InputError("simulate writes a file, expected --out FILE.npz")
    if out.suffix == ".png" and not images:
        raise InputError(f"{out}: {asked.system} has no images, expected .npz")
    if out.suffix not in (".npz", ".png"):
        raise InputError(f"{out}: expected a name that ends in .npz, or .png for images")
    check_writable(out)
    return out


def _draw(asked: Simulate, entry: Entry, chosen: Mapping[str, float]) -> tuple[Dataset, np.ndarray]:
    """The observations, and what a contact sheet shows of them."""
    if asked.run_folder is None:
        data = simulated(entry, asked.n, asked.seed)
        if entry.source.splits is not None:
            note(f"WARNING: {asked.system}: {STAND_IN}, nothing of it is measured")
        return data, data.x
    run = load_run(asked.run_folder)
    if run.config.system != asked.system:
        raise InputError(f"{asked.run_folder}: is a run of {run.config.system}")
    return generate(run, asked.n, asked.seed, chosen)


def _sheet(asked: Simulate, images: np.ndarray, chosen: Mapping[str, float]) -> Figure:
    where = "the fitted model" if asked.run_folder else "the simulator"
    given = ", ".join(f"{name} = {value:g}" for name, value in chosen.items())
    title = f"{min(asked.n, SHOWN)} images of {where}" + (f" at {given}" if given else "")
    return plot_contact_sheet(images, title)


def _setting(text: str) -> tuple[str, float]:
    name, change = parse_intervention(text)
    if change.factor:
        raise InputError(f"--set {text!r} cannot be read, expected NAME=NUMBER")
    return name, change.shift
