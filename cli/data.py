"""``data``: what measured data of a system are found, where, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from groundvae.cli.commands import Data
from groundvae.cli.console import say
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.data.root import VARIABLE, Splits, candidates, find_folder
from groundvae.models.catalogue import Entry
from groundvae.models.ownfile import find_system


def run(asked: Data) -> None:
    entry = find_system(asked.system)
    if asked.number is not None and asked.number not in entry.source.classes:
        known = ", ".join(map(str, entry.source.classes)) or "none"
        raise InputError(f"{entry.name} has no class {asked.number}, known: {known}")
    for line in report(entry, asked.root, asked.number):
        say(line)
    if entry.source.splits is None:
        if asked.out is not None:
            raise InputError(f"{entry.name} is simulated, expected `simulate {entry.name}`")
        return
    splits = _splits(entry, asked.root, asked.number)  # what cannot be used is refused
    if asked.out is not None:
        _write(asked, entry, splits, asked.out)


def _write(asked: Data, entry: Entry, splits: Splits, out: Path) -> None:
    if out.suffix != ".npz":
        raise InputError(f"{out}: expected a name that ends in .npz")
    if splits.stand_in:
        raise InputError(
            f"no measured {entry.name} was found to be written, expected --root; `simulate "
            f"{entry.name}` writes a stand-in"
        )
    whole = joined([splits.train, splits.valid, splits.test])
    whole.save(out)
    say(f"wrote {len(whole)} observations ({splits.source}) to {out}")


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Data sets of the same coordinates and truths as one."""
    x = np.concatenate([part.x for part in parts])
    names = set.intersection(*(set(part.truth) for part in parts))
    truth = {k: np.concatenate([part.truth[k] for part in parts]) for k in sorted(names)}
    return Dataset(x, parts[0].coordinates, truth)


def _splits(entry: Entry, root: Path | None, number: int | None) -> Splits:
    assert entry.source.splits is not None
    return entry.source.splits(root) if number is None else entry.source.splits(root, number)


def report(entry: Entry, root: Path | None, number: int | None = None) -> Iterator[str]:
    """The lines of the answer, best candidate first."""
    if entry.source.splits is None:
        yield f"{entry.name} is simulated (`simulate {entry.name}`): it needs no measured data"
        return
    chosen = find_folder(entry.name, root)
    for folder in candidates(entry.name, root):
        yield from _folder(folder, entry, used=folder == chosen)
    yield _verdict(entry, root, number)
    yield f"public source: {entry.source.public}"
    if root is None:
        yield f"put the files in one of these folders, name its parent in {VARIABLE}, or use --root"


def _folder(folder: Path, entry: Entry, *, used: bool) -> Iterator[str]:
    if not folder.is_dir():
        yield f"{folder}: no such folder"
        return
    yield f"{folder}: {'used' if used else 'not used'}"
    for pattern, content in entry.source.files.items():
        found = sorted(path.name for path in folder.glob(pattern))
        if len(found) > 3:
            found = [f"{found[0]} .. {found[-1]} ({len(found)} files)"]
        yield f"  {pattern}: {', '.join(found) if found else 'missing'} ({content})"


def _verdict(entry: Entry, root: Path | None, number: int | None) -> str:
    try:
        splits = _splits(entry, root, number)
    except InputError as error:
        return f"not usable: {error}"
    sizes = (
        f"{len(splits.train)} to fit, {len(splits.valid)} to validate, {len(splits.test)} to test"
    )
    return f"{splits.source}: {sizes}"
