"""``data``: what measured data of a system are found, where, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from groundvae.cli.console import say
from groundvae.data.errors import InputError
from groundvae.data.root import VARIABLE, candidates, find_folder
from groundvae.models.catalogue import Entry, find_system


@dataclass(frozen=True)
class Data:
    """Say what measured data of a system are found where, and what is missing."""

    system: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYSTEM")]
    """Name of the system, see `list`."""
    root: Path | None = None
    """Folder to look in, instead of GROUNDVAE_DATA and the user's cache folder."""

    def run(self) -> None:
        entry = find_system(self.system)
        for line in report(entry, self.root):
            say(line)


def report(entry: Entry, root: Path | None) -> Iterator[str]:
    """The lines of the answer, best candidate first."""
    if entry.splits is None:
        yield f"{entry.name} is simulated (`simulate {entry.name}`): it needs no measured data"
        return
    chosen = find_folder(entry.name, root)
    for folder in candidates(entry.name, root):
        yield from _folder(folder, entry, used=folder == chosen)
    yield _verdict(entry, root)
    yield f"public source: {entry.source}"
    if root is None:
        yield f"put the files in one of these folders, name its parent in {VARIABLE}, or use --root"


def _folder(folder: Path, entry: Entry, *, used: bool) -> Iterator[str]:
    if not folder.is_dir():
        yield f"{folder}: no such folder"
        return
    yield f"{folder}: {'used' if used else 'not used'}"
    for pattern, content in entry.files.items():
        found = sorted(path.name for path in folder.glob(pattern))
        if len(found) > 3:
            found = [f"{found[0]} .. {found[-1]} ({len(found)} files)"]
        yield f"  {pattern}: {', '.join(found) if found else 'missing'} ({content})"


def _verdict(entry: Entry, root: Path | None) -> str:
    assert entry.splits is not None
    try:
        splits = entry.splits(root)
    except InputError as error:
        return f"not usable: {error}"
    sizes = (
        f"{len(splits.train)} to fit, {len(splits.valid)} to validate, {len(splits.test)} to test"
    )
    return f"{splits.source}: {sizes}"
