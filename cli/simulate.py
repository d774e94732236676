"""``simulate``: write a data file with known true latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from groundvae.cli.console import say
from groundvae.data.atomic import check_writable
from groundvae.data.errors import InputError
from groundvae.models.catalogue import find_system


@dataclass(frozen=True)
class Simulate:
    """Simulate observations of a system, true latents included."""

    system: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYSTEM")]
    """Name of the system, see `list`."""
    out: Path
    """The .npz file to write: x, t and the true latents."""
    n: int = 1000
    """Number of observations."""
    seed: int = 1
    """Same seed, same file. The defaults train on 1, validate on 2 and test on 3."""

    def run(self) -> None:
        entry = find_system(self.system)
        if self.n < 1 or self.seed < 0:
            raise InputError("--n must be 1 or more and --seed 0 or more")
        if self.out.suffix != ".npz":
            raise InputError(f"{self.out}: expected a name that ends in .npz")
        check_writable(self.out)
        entry.simulate(self.n, self.seed).save(self.out)
        say(f"wrote {self.n} observations of {self.system} to {self.out}")
