"""Read text tables in the layouts of rating data; recognise separator, header and encoding.

`ratings.csv` with a header; `u.data`, tabs and no header; `ratings.dat` with `::`; `u.item` with `|` in Latin-1; and
files with a line `item:` before the lines `user,rating,date` of each item.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from vectalk.errors import SpaceError

SEPARATORS = ("::", "\t", ";", "|", ",", " ")
LOOKED_AT = 1 << 16  # bytes from which the layout is guessed
BLOCK = 1 << 24  # bytes that are checked for their encoding at a time
ITEM = "item"  # the column of the lines `item:`
_BROKEN = (OSError, EOFError, zlib.error)  # errors of incomplete or wrong compressed files
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SEPARATED = "\x1f"  # replaces a separator of two characters, which pyarrow does not support
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?([T ].*)?|\d\d?[/.]\d\d?[/.]\d{2,4}")
_ITEM_LINE = re.compile(r"[^\s,;|]+:")


@dataclass(frozen=True)
class Delimited:
    """A text file of rows and columns, and its layout; create one with `open`.

    Attributes:
        path: the file.
        names: names of the columns; without a header they are "1", "2", ...
        sample: cells of the first rows.
        header: whether the first line has the names.
        separator: separator between two columns.
        encoding: its encoding.
        by_item: whether a line `item:` comes before the lines of each item; the first column is then `ITEM`.
        empty: number of empty lines at the beginning.
    """

    path: Path
    names: list[str]
    sample: list[list[str]]
    header: bool
    separator: str
    encoding: str
    by_item: bool
    empty: int

    @classmethod
    def open(
        cls,
        path: Path,
        known: Callable[[str], bool],
        *,
        separator: str | None = None,
        header: bool | None = None,
        unsure: bool | None = None,
    ) -> Delimited:
        """Guess the layout of a file from its beginning.

        Args:
            path: a text file, also as `.gz`.
            known: returns whether a cell of the first line looks like a column name.
            separator: separator between two columns; guessed when omitted.
            header: whether the first line has the names; guessed when omitted.
            unsure: value of `header` if it cannot be guessed; if omitted, this is an error.

        Raises:
            SpaceError: the file is empty or not text, or it is not clear whether it has a header.
        """
        try:
            encoding = _encoding(path)
            with opened(path) as file:
                head = file.read(LOOKED_AT)
        except _BROKEN as error:
            raise SpaceError(f"{path} cannot be read: {error}") from None
        lines = _lines(head.decode(encoding, errors="replace"))
        lines = lines[:-1] if len(head) == LOOKED_AT and len(lines) > 1 else lines
        empty = next((row for row, line in enumerate(lines) if line.strip()), len(lines))
        lines = [line for line in lines if line.strip()]
        if not lines:
            raise SpaceError(f"{path} has no rows")
        by_item = header is not True and _is_item(lines[0])
        rows = [line for line in lines if not _is_item(line)] if by_item else lines
        sign = separator or _separator(rows, path)
        cells = [_cells(line, sign) for line in rows]
        if by_item:
            sample = [["", *row] for row in cells]
            return cls(path, [ITEM, *_numbered(cells)], sample, False, sign, encoding, True, empty)
        if header is None:
            header = _is_header(cells, known)
        if header is None and unsure is None:
            raise SpaceError(
                f"{path}: the first line ({', '.join(cells[0][:6])}) may be column names or data; give "
                "--header or --no-header"
            )
        header = bool(unsure) if header is None else header
        names = cells[0] if header else _numbered(cells)
        return cls(path, names, cells[header:], header, sign, encoding, False, empty)

    def read(self, columns: Mapping[str, int], text: Collection[str] | None = None) -> pa.Table:
        """Read some columns.

        Args:
            columns: position in `names` of each column to read, by its new name.
            text: columns that are always read as text; all when omitted.

        Raises:
            SpaceError: a line has more or fewer columns than the others.
        """
        places = {at: name for name, at in columns.items()}
        names = [places.get(at, f"column {at + 1}") for at in range(len(self.names))]
        text = columns if text is None else text
        try:
            if self.by_item:
                return self._read_by_item(names, list(columns), text)
            return self._parse(self._source(), names, list(columns), text, self.empty + self.header)
        except (pa.ArrowException, UnicodeDecodeError, *_BROKEN) as error:
            raise SpaceError(f"{self.path} cannot be read: {' '.join(str(error).split())}") from None

    def line(self, row: int) -> str:
        """Return the line of a row of the table, such as `line 3`."""
        with opened(self.path) as file:
            lines = _lines(file.read().decode(self.encoding))
        rows = [n for n, line in enumerate(lines, 1) if line.strip() and not (self.by_item and _is_item(line))]
        return f"line {rows[row + self.header]}"

    def __str__(self) -> str:
        named = {"\t": "tabs", " ": "blanks"}.get(self.separator, repr(self.separator))
        header = "below lines 'item:'" if self.by_item else "with a header" if self.header else "without a header"
        return f"columns separated by {named}, {header}" + ("" if self.encoding == "utf-8" else f", in {self.encoding}")

    def _source(self) -> BinaryIO | pa.BufferReader:
        if len(self.separator) == 1 and self.encoding != "utf-16":
            return opened(self.path)
        with opened(self.path) as file:
            content = file.read().decode(self.encoding).removeprefix("\ufeff")
        return pa.BufferReader(content.replace(self.separator, self._sign).encode())

    def _read_by_item(self, names: list[str], columns: list[str], text: Collection[str]) -> pa.Table:
        with opened(self.path) as file:
            lines = [line.strip() for line in _lines(file.read().decode(self.encoding)) if line.strip()]
        heads = np.array([_is_item(line) for line in lines])
        items = np.array([line[:-1] for line in lines if _is_item(line)], object)[np.cumsum(heads)[~heads] - 1]
        rows = "\n".join(line for line, head in zip(lines, heads, strict=True) if not head)
        source = pa.BufferReader(rows.replace(self.separator, self._sign).encode())
        table = self._parse(source, names[1:], [name for name in columns if name != names[0]], text, 0)
        return table.add_column(0, names[0], pa.array(items, pa.string())) if names[0] in columns else table

    def _parse(
        self,
        source: BinaryIO | pa.BufferReader,
        names: list[str],
        columns: list[str],
        text: Collection[str],
        skip: int,
    ) -> pa.Table:
        recoded = isinstance(source, pa.BufferReader)
        # Quotation marks enclose values only in files with commas or semicolons; elsewhere they have no meaning.
        quoted = self.separator in ",;"
        with source:
            return pyarrow.csv.read_csv(
                source,
                read_options=pyarrow.csv.ReadOptions(
                    column_names=names,
                    skip_rows=skip,
                    encoding="utf8" if recoded or self.encoding == "utf-8" else self.encoding,
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self._sign, quote_char='"' if quoted else False, newlines_in_values=quoted
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(text, pa.string()), include_columns=columns
                ),
            )

    @property
    def _sign(self) -> str:
        return self.separator if len(self.separator) == 1 else _SEPARATED


def is_number(cell: str) -> bool:
    """Return whether a cell is a number."""
    return _NUMBER.fullmatch(cell) is not None


def is_date(cell: str) -> bool:
    """Return whether a cell is a date."""
    return _DATE.fullmatch(cell) is not None


def opened(path: Path) -> BinaryIO:
    """Open a file that may be compressed."""
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff"))


def _is_item(line: str) -> bool:
    return _ITEM_LINE.fullmatch(line.strip()) is not None


def _form(cell: str) -> str:
    return re.sub(r"\d+", "0", cell)


def _numbered(cells: Sequence[Sequence[str]]) -> list[str]:
    return [str(number + 1) for number in range(len(cells[0]) if cells else 0)]


def _encoding(path: Path) -> str:
    """Return the encoding of a file: UTF-16, UTF-8, else Windows-1252, else Latin-1."""
    with opened(path) as file:
        if file.read(2) in _UTF16:
            return "utf-16"
    for name in ("utf-8", "cp1252"):
        decoder = codecs.getincrementaldecoder(name)()
        try:
            with opened(path) as file:
                while block := file.read(BLOCK):
                    if b"\0" in block:
                        raise SpaceError(f"{path} is not a text file")
                    decoder.decode(block)
                decoder.decode(b"", final=True)
            return name
        except UnicodeDecodeError:
            continue
    return "latin-1"


def _cells(line: str, separator: str) -> list[str]:
    if separator not in ",;":
        return [cell.strip() for cell in line.split(separator)]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]


def _separator(lines: Sequence[str], path: Path) -> str:
    """Return the separator that splits all, or most, lines into equally many columns; of several, into the most."""
    marks = {}
    for sign in SEPARATORS:
        counts = Counter(len(_cells(line, sign)) for line in lines)
        columns = len(_cells(lines[0], sign)) if lines else 0
        if columns > 1 and counts[columns] > len(lines) / 2:
            share = counts[columns] / len(lines)
            marks[sign] = (share == 1, sign != " ", columns, share)
    if not marks:
        raise SpaceError(
            f"{path}: no separator splits its lines into columns, such as {lines[0][:80] if lines else ''!r}; "
            "name the separator with --separator"
        )
    return max(marks, key=marks.__getitem__)


def _is_header(cells: Sequence[Sequence[str]], known: Callable[[str], bool]) -> bool | None:
    """Return whether the first row has names, not data; None if this is not clear."""
    first, later = cells[0], cells[1:]
    below = [[row[at] for row in later if at < len(row) and row[at]] for at in range(len(first))]
    # A cell in the form of the cells below it, such as u17 above u4, is data, like a number.
    numbers = [
        is_number(cell) or is_date(cell) or ("0" in _form(cell) and _form(cell) in map(_form, cells))
        for cell, cells in zip(first, below, strict=True)
    ]
    # A word above numbers only is a column name.
    words = [
        bool(cell and cells) and not number and all(map(is_number, cells))
        for cell, number, cells in zip(first, numbers, below, strict=True)
    ]
    counted = list(first) == [
        str(number) for number in range(len(first))
    ]  # names that pandas gives to columns without names
    named = any(words) or any(map(known, first))
    if any(numbers) == (named or counted):
        return None
    return named
