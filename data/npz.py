"""Plain arrays of an ``.npz``; nothing is unpickled."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from groundvae.data.errors import InputError

# What numpy and zipfile raise on damaged files.
UNREADABLE = (
    OSError,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_npz(path: Path | str, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file by name, of any shapes: those of ``names`` that it has.

    ``None`` reads all that are plain; pickled ones are left out.

    Raises:
        InputError: no such file, not an ``.npz``, damaged, or one of ``names`` is pickled.

    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected an .npz with an array 'x'")
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise InputError(f"{path}: is one bare array, expected an .npz with an array 'x'")
        with opened as archive:
            if names is not None:
                return {name: archive[name] for name in names if name in archive.files}
            return {name: archive[name] for name in archive.files if not _pickled(archive, name)}
    except InputError:
        raise
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise InputError(
                f"{path}: is pickled or no .npz at all; pickles are refused, expected an .npz "
                "of plain numeric arrays"
            ) from error
        raise InputError(f"{path}: cannot be read as .npz ({error})") from error
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as .npz ({error})") from error


def look_into(path: Path | str) -> dict[str, np.ndarray]:
    """The plain arrays of a file that can be read by name, of any shapes; none of another file.

    >>> look_into("none.npz")
    {}
    """
    try:
        return read_npz(path)
    except InputError:
        return {}


def _pickled(archive: np.lib.npyio.NpzFile, name: str) -> bool:
    try:
        archive[name]
    except ValueError as error:
        if "pickle" in str(error).lower():
            return True
        raise
    return False


def numbers(array: np.ndarray, dtype: type) -> np.ndarray:
    """The same, of any shape, as real numbers of one type; what overflows becomes infinite.

    Raises:
        TypeError: not real numbers.

    """
    if np.asarray(array).dtype.kind not in "biuf":
        raise TypeError(f"of type {np.asarray(array).dtype}")
    with np.errstate(over="ignore"):  # what overflows is infinite, and is refused as such
        return np.asarray(array, dtype=dtype)


def full_scale(whole: np.ndarray, kind: np.dtype) -> float:
    """What stands for 1 in images of whole numbers of a ``kind``: the most that it holds.

    Bytes, or numbers of 16 bits, that were stored as longer ones count as what they are.

    >>> full_scale(np.array([0, 200]), np.dtype(int))
    255.0
    """
    largest = np.iinfo(kind).max
    full = [most for most in (255, 65535, largest) if np.max(whole) <= most <= largest]
    return float(min(full))
