"""Files appear whole or not at all: written under a temporary name, brought to disk, renamed.

Nothing else in a folder is touched, and no folder is ever removed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from groundvae.data.errors import InputError


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path``; move it there if the block ends well.

    Where ``path`` is a link, what it points to is replaced, and the link stays.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole", encoding="utf-8")
    >>> [p.name for p in folder.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    with _telling(path):
        real = path.resolve()
        real.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=real.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with _telling(path):
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner may read
            _to_disk(temporary)
            temporary.replace(real)
            _to_disk(real.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_together(folder: Path, files: Mapping[str, bytes], index: str) -> None:
    """Replace files that belong together, so that a reader finds all old or all new ones.

    ``index`` is one of them, and holds the hashes of the others (``digest_of``): renaming it is
    what counts. Whoever is stopped before the others are renamed leaves them under names that
    ``read_together`` knows.

    Raises:
        InputError: they cannot be written; then all is as it was.

    """
    with _telling(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for name, content in files.items():
                waiting(folder, name).write_bytes(content)
                _to_disk(waiting(folder, name))
            waiting(folder, index).replace(folder / index)
        except BaseException:
            for name in files:
                waiting(folder, name).unlink(missing_ok=True)
            raise
        try:
            _rename(folder, files)
        except KeyboardInterrupt:  # they count already
            _rename(folder, files)
            raise
        _to_disk(folder)


def _rename(folder: Path, names: Iterable[str]) -> None:
    """Give waiting files their names."""
    for name in names:
        with suppress(FileNotFoundError):
            waiting(folder, name).replace(folder / name)


def read_together(folder: Path, name: str, digest: str) -> bytes:
    """The content of a file that an index names by its ``digest``.

    Raises:
        InputError: it is not what was written.

    """
    for path in (folder / name, waiting(folder, name)):
        with suppress(FileNotFoundError):
            content = path.read_bytes()
            if digest_of(content) == digest:
                return content
    raise InputError(f"{name} is not what was written with its config.json, a bit may have flipped")


def digest_of(content: bytes) -> str:
    """SHA-256.

    >>> digest_of(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder and their names, read piece by piece."""
    if not path.is_dir():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    found = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        found.update(f"{file.relative_to(path)} {digest_of_file(file)}".encode())
    return found.hexdigest()


def check_writable(path: Path | str) -> None:
    """Refuse a name that no file can be written under, before the work and not after it.

    >>> import tempfile
    >>> check_writable(Path(tempfile.mkdtemp()) / "new" / "a.txt")
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file")
    real = path.resolve()
    above = next(p for p in real.parents if p.exists())
    try:
        with tempfile.TemporaryFile(dir=above):  # asks the file system itself, and leaves nothing
            pass
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written, {above} is no folder one can write to ({error.strerror})"
        ) from error


def free_name(folder: Path) -> Path:
    """A new folder beside ``folder``, made here: nobody else is given the same name.

    >>> import tempfile
    >>> run = Path(tempfile.mkdtemp()) / "run"
    >>> free_name(run).name, free_name(run).name
    ('run-2', 'run-3')
    """
    real = folder.resolve()
    number = 2
    while True:
        beside = real.parent / f"{real.name or 'run'}-{number}"
        try:
            beside.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return beside


def waiting(folder: Path, name: str) -> Path:
    """Where ``write_together`` has a file before it is renamed."""
    return folder / f".{name}.new"


def _to_disk(path: Path) -> None:
    """Have the disk hold what was written, a folder's names included where the system can."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
