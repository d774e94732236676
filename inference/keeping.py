"""A fit that is kept: checkpoints in its folder on the way, its run there at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from groundvae.data.atomic import free_name
from groundvae.data.dataset import Dataset
from groundvae.data.errors import InputError
from groundvae.guides.phase import Ending
from groundvae.inference.checkpoint import FILE, Checkpoint, Checkpoints
from groundvae.inference.fit import Means, execute
from groundvae.inference.folder import alone_in, write_somewhere
from groundvae.inference.run import DAMAGE, Run, check_folder, config_of, new_run

WELL = (Ending.FINISHED, Ending.PLATEAU)


class Kept:
    """Where the checkpoints of one fit go, beside what it takes to begin that fit again.

    Args:
        folder: of the run.
        run: that is fitted.
        begun: plain values that the caller needs to find data and device again.
        warn: is told, once, that checkpoints cannot be written any more.

    """

    def __init__(
        self, folder: Path, run: Run, begun: Mapping[str, Any], warn: Callable[[str], None]
    ) -> None:
        self.folder, self.run, self.begun, self.warn = folder, run, begun, warn
        self.left = self.failed = False

    def __call__(self, checkpoint: Checkpoint) -> None:
        """Leave a checkpoint.

        Raises:
            InputError: the first cannot be written: nothing is lost by that yet.

        """
        values = {**checkpoint.values, "config": asdict(self.run.config), "begun": dict(self.begun)}
        try:
            Checkpoint(checkpoint.tensors, values).write(self.folder)
        except InputError as error:
            if not self.left:
                raise
            if not self.failed:
                self.warn(f"WARNING: no checkpoint any more: {error}; the fit goes on")
            self.failed = True
        self.left = True


def fit_in(
    folder: Path,
    run: Run,
    train: Dataset,
    valid: Dataset,
    means: Means,
    *,
    begun: Mapping[str, Any] | None = None,
    warn: Callable[[str], None] = lambda _: None,
    resumed: Checkpoint | None = None,
) -> Path:
    """Fit an unfitted run in place, kept in a folder.

    A fit that is interrupted or diverges does not replace a run that ended well, and where the
    folder cannot be written any more another is found.

    Returns:
        Where the run is.

    Raises:
        InputError: the folder cannot be written, or another fit writes to it; before the fit.

    """
    data = {"data_digest": train.digest() + valid.digest()}
    if resumed is not None and resumed.values["begun"]["data_digest"] != data["data_digest"]:
        raise InputError(f"{folder}: was begun on other data, expected those as they were")
    with alone_in(folder):
        kept = Kept(folder, run, {**(begun or {}), **data}, warn)
        checkpoints = Checkpoints(kept, resumed)
        execute(run, train, valid, means, checkpoints)
        return _settle(run, folder)


def resume(folder: Path) -> tuple[Run, Checkpoint]:
    """The unfitted run of a fit that did not end, and where it was.

    Raises:
        InputError: there is none, or it is damaged.

    """
    if not (folder / FILE).is_file():
        raise InputError(f"{folder}: holds no checkpoint, expected the folder of an unended fit")
    try:
        checkpoint = Checkpoint.read(folder)
        return new_run(config_of(folder, checkpoint.values["config"])), checkpoint
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"{folder}: its checkpoint is damaged ({error})") from error


def keep(
    folder: Path, run: Run, train: Dataset, valid: Dataset, means: Means, *, resume: bool
) -> Run:
    """Fit an unfitted run in a folder; where ``resume``, on from the checkpoint that is there.

    Raises:
        InputError: a run is there; its checkpoint is of another fit.

    """
    there = resume and (folder / FILE).is_file()
    if not there:
        check_folder(folder, overwrite=False)
    checkpoint = Checkpoint.read(folder) if there else None
    own = json.loads(json.dumps(asdict(run.config)))
    if checkpoint is not None and checkpoint.values["config"] != own:
        raise InputError(f"{folder}: was begun as another fit, expected the same, or a new folder")
    fit_in(folder, run, train, valid, means, resumed=checkpoint)
    return run


def ended_well(folder: Path) -> bool:
    """Whether a folder holds a run whose fit neither diverged nor was interrupted."""
    try:
        facts = json.loads((folder / "fit.json").read_text(encoding="utf-8"))
        return Ending(facts["ending"]) in WELL
    except DAMAGE:
        return False


def _settle(run: Run, folder: Path) -> Path:
    """Write the run where it belongs, and its checkpoint where it may go on."""
    worse = run.fit.ending not in WELL
    place = write_somewhere(
        run.write, free_name(folder) if worse and ended_well(folder) else folder
    )
    checkpoint = folder / FILE
    if run.fit.ending is not Ending.INTERRUPTED:
        checkpoint.unlink(missing_ok=True)
    elif place != folder and checkpoint.is_file():
        _move(checkpoint, place)
    return place


def _move(file: Path, folder: Path) -> None:
    """To another folder, also on another disk."""
    content = file.read_bytes()
    (folder / file.name).write_bytes(content)
    file.unlink()
