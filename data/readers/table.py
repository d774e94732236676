"""Tables: columns by name, and for each row the line it came from."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from groundvae.data.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
DELIMITERS = ",;\t"
COMMENT = "#"


@dataclass(frozen=True)
class Table:
    """Columns of equal length: numbers (row,), missing ones NaN, or texts (row,), missing "".

    Args:
        source: what errors call it.
        columns: by name.
        lines: where each row stands in the source, (row,).
        word: what a place in the source is called, ``"line"`` or ``"row"``.

    """

    source: str
    columns: Mapping[str, np.ndarray]
    lines: np.ndarray
    word: str = "line"

    def __len__(self) -> int:
        return len(self.lines)

    def place(self, row: int) -> str:
        """Where a row stands, for an error."""
        return f"{self.source}: {self.word} {self.lines[row]}"

    def column(self, name: str) -> np.ndarray:
        """A column (row,).

        Raises:
            InputError: there is none of that name.

        """
        if name not in self.columns:
            known = ", ".join(self.columns)
            raise InputError(f"{self.source}: has no column {name!r}, found: {known}")
        return self.columns[name]

    def numbers(self, name: str, *, finite: bool = True) -> np.ndarray:
        """A column (row,) as numbers, missing ones NaN.

        Raises:
            InputError: there is none of that name, or it holds text, or infinities and has to be
                ``finite``.

        """
        column = self.column(name)
        if column.dtype.kind != "f":
            column = self._parsed(name, column)
        if finite and np.isinf(column).any():
            row = int(np.isinf(column).argmax())
            raise InputError(f"{self.place(row)}: {name} is infinite, expected a finite number")
        return column

    def is_text(self, name: str) -> bool:
        """Whether the first entry that is there is no number."""
        column = self.column(name)
        if column.dtype.kind == "f":
            return False
        first = next((c for c in column if c.lower() not in MISSING), "")
        return first != "" and _number(first) is None

    def texts(self, name: str) -> list[str]:
        """A column as texts, numbers as short as they can be told.

        Raises:
            InputError: there is none of that name, or an entry is missing.

        """
        column = self.column(name)
        texts = (
            [f"{c:.15g}" for c in column] if column.dtype.kind == "f" else list(map(str, column))
        )
        for row, text in enumerate(texts):
            if text.lower() in MISSING:
                raise InputError(f"{self.place(row)}: {name} is missing, expected a name or number")
        return texts

    def _parsed(self, name: str, column: np.ndarray) -> np.ndarray:
        numbers = np.empty(len(column))
        for row, cell in enumerate(column):
            number = np.nan if cell.lower() in MISSING else _number(cell)
            if number is None:
                raise InputError(f"{self.place(row)}: {name} is {cell[:40]!r}, expected a number")
            numbers[row] = number
        return numbers


def _number(cell: str) -> float | None:
    if "_" in cell:  # a number to Python, to nobody else
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def read_csv(path: Path) -> Table:
    """A table of text: a header, cells between commas, semicolons or tabs, ``#`` for comments.

    Raises:
        InputError: no such file, no text, no rows, or rows of another length than the header.

    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _read_rows(str(path), stream)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text in UTF-8, expected a table with a header") from error
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read as a table ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _read_rows(source: str, stream: Iterator[str]) -> Table:
    header, delimiter, at = _header(source, stream)
    rows = csv.reader(_without_comments(stream), delimiter=delimiter)
    cells: list[list[str]] = []
    lines: list[int] = []
    width = len(header)
    for row in rows:
        if not any(map(str.strip, row)):
            continue
        line = at + rows.line_num
        if len(row) < width or any(map(str.strip, row[width:])):
            raise InputError(f"{source}: line {line} has {len(row)} cells, expected {width}")
        cells.append([cell.strip() for cell in row[:width]])
        lines.append(line)
    if not cells:
        raise InputError(f"{source}: has a header and no rows, expected some")
    columns = {
        name: np.array(column, dtype=object)
        for name, column in zip(header, zip(*cells, strict=True), strict=True)
        if name
    }
    return Table(source, columns, np.array(lines))


def _header(source: str, stream: Iterator[str]) -> tuple[list[str], str, int]:
    """Names of the columns, what stands between cells, and the line that they stand on."""
    for line, text in enumerate(stream, start=1):
        if not text.strip() or text.startswith(COMMENT):
            continue
        if "\0" in text:
            raise InputError(f"{source}: is no text, expected a table with a header")
        delimiter = max(DELIMITERS, key=text.count)
        names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
        twice = next((name for name in names if name and names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"{source}: line {line} has two columns {twice!r}, expected one")
        if not any(names):
            raise InputError(f"{source}: line {line} names no column, expected a header")
        return names, delimiter, line
    raise InputError(f"{source}: is empty, expected a table with a header")


def _without_comments(stream: Iterator[str]) -> Iterator[str]:
    """The same lines, those of comments empty: their numbers stay."""
    return ("\n" if line.startswith(COMMENT) else line for line in stream)


def from_frame(frame: pd.DataFrame, source: str) -> Table:
    """A table from a pandas DataFrame; an index that has a name is a column.

    Times as dates become seconds since the earliest.

    Raises:
        InputError: no rows, or two columns of one name.

    """
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    if not len(frame) or not len(frame.columns):
        raise InputError(f"{source}: has no rows, expected some")
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{source}: has two columns {twice!r}, expected one")
    columns = {name: _plain(frame.iloc[:, i]) for i, name in enumerate(names)}
    return Table(source, columns, np.arange(len(frame)), word="row")


def _plain(series: pd.Series) -> np.ndarray:
    """Numbers as float64, missing ones NaN; all else as texts, missing ones empty."""
    kind = series.dtype.kind
    if kind == "M":
        seconds = (series - series.min()).dt.total_seconds()
        return np.asarray(seconds.to_numpy(dtype=float, na_value=np.nan))
    if kind == "m":
        return np.asarray(series.dt.total_seconds().to_numpy(dtype=float, na_value=np.nan))
    if kind in "biuf":
        return np.asarray(series.to_numpy(dtype=float, na_value=np.nan))
    missing = series.isna().to_numpy()
    texts = ["" if gone else str(cell).strip() for cell, gone in zip(series, missing, strict=True)]
    return np.array(texts, dtype=object)


def read_parquet(path: Path) -> Table:
    """A table of a Parquet file; needs pyarrow, which comes with ``groundvae[parquet]``.

    Raises:
        InputError: no pyarrow, or no Parquet file.

    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except ImportError as error:
        raise InputError(
            f"{path}: Parquet needs pyarrow, expected `pip install groundvae[parquet]`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be read as Parquet ({reason})") from error
    return from_frame(frame, str(path))
