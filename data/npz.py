"""Plain arrays of an ``.npz``; nothing is unpickled."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

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

ZIP_HEADER = 30  # bytes before the name of a member
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path | str, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a file by name, of any shapes: those of ``names`` that it has.

    ``None`` reads all that are plain; pickled ones are left out.

    Raises:
        InputError: no such file, not an ``.npz``, damaged, or one of ``names`` is pickled.

    """
    with _opened(Path(path)) as archive:
        if names is not None:
            return {name: archive[name] for name in names if name in archive.files}
        return {name: archive[name] for name in archive.files if not _pickled(archive, name)}


def map_npz(path: Path | str) -> dict[str, np.ndarray]:
    """The plain arrays of a file by name, of any shapes, read when they are used.

    Of those that are compressed (``np.savez_compressed``) all is read.

    Raises:
        InputError: what ``read_npz`` refuses.

    """
    path = Path(path)
    with _opened(path) as archive:
        stored = {
            item.filename.removesuffix(".npy"): item
            for item in (archive.zip.infolist() if archive.zip else ())
            if item.compress_type == zipfile.ZIP_STORED
        }
        mapped = {name: _mapped(path, item) for name, item in stored.items()}
        found = {name: array for name, array in mapped.items() if array is not None}
        rest = [n for n in archive.files if n not in found and not _pickled(archive, n)]
        return found | {name: archive[name] for name in rest}


def _mapped(path: Path, item: zipfile.ZipInfo) -> np.ndarray | None:
    """An array that stands in a file as it is in memory; None where it cannot be mapped."""
    with path.open("rb") as stream:
        stream.seek(item.header_offset)
        header = stream.read(ZIP_HEADER)
        name, extra = struct.unpack("<HH", header[-4:])
        stream.seek(name + extra, os.SEEK_CUR)
        version = np.lib.format.read_magic(stream)
        if version not in HEADERS:
            return None
        shape, fortran, dtype = HEADERS[version](stream)
        if dtype.hasobject or not np.prod(shape):
            return None
        order: Literal["F", "C"] = "F" if fortran else "C"
        return np.memmap(path, dtype, "r", stream.tell(), shape, order)


@contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """An archive; what goes wrong with it is told in one sentence."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected an .npz with an array 'x'")
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise InputError(f"{path}: is one bare array, expected an .npz with an array 'x'")
        with opened as archive:
            yield archive
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
    """The same, of any shape, as real numbers of one type; what overflows is infinite.

    Raises:
        TypeError: not real numbers.

    """
    if np.asarray(array).dtype.kind not in "biuf":
        raise TypeError(f"of type {np.asarray(array).dtype}")
    with np.errstate(over="ignore"):  # what overflows is infinite, and is treated as such
        return np.asarray(array, dtype=dtype)


def largest_of(array: np.ndarray, rows: int = 1000) -> float:
    """The largest value of an array (row, ...) that may be larger than the memory.

    >>> largest_of(np.arange(5), rows=2)
    4.0
    """
    return max(float(array[i : i + rows].max()) for i in range(0, len(array), rows))


def full_scale(whole: np.ndarray | float, kind: np.dtype) -> float:
    """What stands for 1 in images of whole numbers of a ``kind``: the most that it holds.

    Bytes, or numbers of 16 bits, that were stored as longer ones count as what they are.

    >>> full_scale(np.array([0, 200]), np.dtype(int))
    255.0
    """
    largest = np.iinfo(kind).max
    full = [most for most in (255, 65535, largest) if np.max(whole) <= most <= largest]
    return float(min(full))
