"""The folder of a run: whether it may be written to, by whom, and where to if it may not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from groundvae.data.atomic import check_writable, free_name, waiting
from groundvae.data.errors import InputError
from groundvae.inference.checkpoint import FILE

RUN = "config.json"


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse to overwrite by accident, or to overwrite what is no run at all.

    Raises:
        InputError: one of these, or nothing can be written there.

    """
    if folder.is_symlink() and not folder.exists():
        raise InputError(f"{folder}: is a link to nothing, expected a folder")
    check_writable(folder / RUN)
    unfinished = waiting(folder, FILE)  # what a fit that was killed at its first checkpoint leaves
    if not folder.exists() or (folder.is_dir() and not set(folder.iterdir()) - {unfinished}):
        return
    known = [name for name in (RUN, FILE) if (folder / name).is_file()]
    if not overwrite and known == [FILE]:
        raise InputError(
            f"{folder}: holds a fit that did not end, expected --resume {folder} or --overwrite"
        )
    if not overwrite:
        raise InputError(f"{folder}: exists already, expected a new folder or --overwrite")
    if not known:
        raise InputError(f"{folder}: is not a run folder, so --overwrite leaves it alone")


def check_complete(folder: Path, files: Sequence[str]) -> None:
    """Refuse a folder that lacks some ``files`` of a run.

    Raises:
        InputError: naming the first.

    """
    missing = [name for name in files if not (folder / name).is_file()]
    if missing and (folder / FILE).is_file():
        raise InputError(f"{folder}: is a fit that did not end, expected fit --resume {folder}")
    if missing:
        raise InputError(f"{folder}: is no complete run folder, {missing[0]} is missing")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is not there, against other fits.

    The lock is on the folder itself: it leaves no file, and ends with the process that holds it.

    Raises:
        InputError: another fit holds it, or it cannot be made.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        import fcntl  # not everywhere
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"{folder}: another fit is writing to it, expected another folder"
        ) from error
    except OSError:  # a file system without locks
        return


def write_somewhere(write: Callable[[Path], None], folder: Path) -> Path:
    """Write to ``folder``, or where that fails under a free name: beside it, here, or in /tmp.

    Returns:
        Where it was written.

    Raises:
        InputError: nowhere.

    """
    try:
        write(folder)
        return folder
    except InputError as error:
        reason = error
    name = folder.resolve().name or "run"
    for place in (folder, Path.cwd() / name, Path(tempfile.gettempdir()) / name):
        with suppress(InputError, OSError):
            beside = free_name(place)
            try:
                write(beside)
            except InputError:
                beside.rmdir()
                raise
            return beside
    raise reason
