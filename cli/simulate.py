"""``simulate``: write observations with known latents, from a system or from a fitted run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from matplotlib.figure import Figure

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


@dataclass(frozen=True)
class Simulate:
    """Simulate observations of a system, true latents included; or generate from a fitted run."""

    system: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYSTEM")]
    """Name of the system, see `list`."""
    out: Path | None = None
    """The .npz file to write: x, t and the true latents; or a .png, for images (the default with
    --run: RUN/sheet.png)."""
    n: int = 1000
    """Number of observations."""
    seed: int = 1
    """Same seed, same file. The defaults train on 1, validate on 2 and test on 3."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """A fitted run to generate from, instead of the system's own simulator."""
    set: tuple[str, ...] = ()
    """With --run: physics latents at chosen values, such as 'position_angle=0.5'."""

    def run(self) -> None:
        entry = find_system(self.system)
        if self.n < 1 or self.seed < 0:
            raise InputError("--n must be 1 or more and --seed 0 or more")
        out = self._named(entry)
        chosen = once("--set", (_setting(text) for text in self.set))
        if chosen and self.run_folder is None:
            raise InputError("--set needs a fitted run to generate from, expected --run")
        data, clean = self._draw(entry, chosen)
        if out.suffix == ".npz":
            data.save(out)
        else:
            save_figure(self._sheet(clean, chosen), out)
        say(f"wrote {self.n} observations of {self.system} to {out}")

    def _named(self, entry: Entry) -> Path:
        """Where to write."""
        images = len(entry.system.axes) == IMAGE_RANK
        out = self.out
        if out is None and images and self.run_folder is not None:
            out = self.run_folder / "sheet.png"
        if out is None:
            raise InputError("simulate writes a file, expected --out FILE.npz")
        if out.suffix == ".png" and not images:
            raise InputError(f"{out}: {self.system} has no images, expected .npz")
        if out.suffix not in (".npz", ".png"):
            raise InputError(f"{out}: expected a name that ends in .npz, or .png for images")
        check_writable(out)
        return out

    def _draw(self, entry: Entry, chosen: Mapping[str, float]) -> tuple[Dataset, np.ndarray]:
        """The observations, and what a contact sheet shows of them."""
        if self.run_folder is None:
            data = simulated(entry, self.n, self.seed)
            if entry.source.splits is not None:
                note(f"WARNING: {self.system}: {STAND_IN}, nothing of it is measured")
            return data, data.x
        run = load_run(self.run_folder)
        if run.config.system != self.system:
            raise InputError(f"{self.run_folder}: is a run of {run.config.system}")
        return generate(run, self.n, self.seed, chosen)

    def _sheet(self, images: np.ndarray, chosen: Mapping[str, float]) -> Figure:
        where = "the fitted model" if self.run_folder else "the simulator"
        given = ", ".join(f"{name} = {value:g}" for name, value in chosen.items())
        title = f"{min(self.n, SHOWN)} images of {where}" + (f" at {given}" if given else "")
        return plot_contact_sheet(images, title)


def _setting(text: str) -> tuple[str, float]:
    name, change = parse_intervention(text)
    if change.factor:
        raise InputError(f"--set {text!r} cannot be read, expected NAME=NUMBER")
    return name, change.shift
