"""The layout of a text table: the separator and the names of its columns, and where its rows begin."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vectalk.errors import SpaceError
from vectalk.space.importing.column_types import NUMBER
from vectalk.space.importing.text_files import Tell, open_text

SEPARATORS = (",", ";", "\t", "|", "::")
SAMPLE = 200  # records from which the separator is guessed
HEAD = 1 << 20  # characters that are read for these records
PARTED = "\x1f"  # replaces a separator of several characters, which readers of csv do not support


@dataclass(frozen=True)
class Layout:
    """The layout of a text table, as far as the user gives it.

    Attributes:
        separator: separator of the columns: `,`, `;`, a tab, `|`, `::` or any other text; guessed when omitted.
        encoding: e.g. `cp1251`; UTF-8 or cp1252 (Windows) when omitted.
        names: names of the columns, for a table without a header.
    """

    separator: str | None = None
    encoding: str | None = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.separator is not None and (not self.separator or set(self.separator) & set('"\r\n')):
            raise SpaceError(f"separator {self.separator!r} cannot separate columns; use e.g. ',', ';', '|' or '::'")
        repeated = [name for name in self.names or () if list(self.names or ()).count(name) > 1]
        if repeated or not all(name.strip() for name in self.names or ()):
            raise SpaceError(f"column names {','.join(self.names or ())!r}: each column needs its own name")


@dataclass(frozen=True)
class Shape:
    """The layout that was read from the first lines: separator, names of the columns, and lines before the rows."""

    separator: str
    names: list[str]
    before: int


def shape_of(path: Path, encoding: str, layout: Layout, tell: Tell = lambda message: None) -> Shape:
    """Return the separator and the names of the columns of a file, read from its first lines.

    Args:
        path: the file.
        encoding: its encoding.
        layout: what the user gives.
        tell: called with what was guessed.

    Raises:
        SpaceError: the file is empty or not a text table, or `layout` names another number of columns.
    """
    try:
        return _shape_of(path, encoding, layout, tell)
    except csv.Error as error:
        raise SpaceError(f"{path} cannot be read as a table of text: {error}") from None


def _shape_of(path: Path, encoding: str, layout: Layout, tell: Tell) -> Shape:
    with open_text(path, encoding) as file:
        head = file.read(HEAD)
    lines = io.StringIO(head, newline="").readlines()
    if len(head) == HEAD and len(lines) > 1:
        lines.pop()  # it may be incomplete
    start = next((place for place, line in enumerate(lines) if line.strip()), len(lines))
    excel = (
        re.match(r'^"?sep=(.+?)"?\s*$', lines[start], re.I) if start < len(lines) else None
    )  # a line that Excel writes
    start += excel is not None
    if start >= len(lines):
        raise SpaceError(f"{path} is empty")
    first = next((n for n in range(start, len(lines)) if lines[n].strip() and lines[n][0] != "#"), start)
    explicit = layout.separator or (excel[1] if excel else None)
    named = None if layout.names is None else len(layout.names)
    separator = explicit or _separator(lines[first:], "\t" if _is_tsv(path) else None, named)
    width = len(_split(lines[first:], separator)[0])
    # A line that begins with # and is as wide as the rows has the column names; other such lines are comments.
    while start < first and len(_split(lines[first - 1 : first], separator)[0]) == width > 1:
        first -= 1
    if layout.names is not None:
        if named != width:
            raise SpaceError(f"{path} has {width} columns; --column-names gives {named}")
        return Shape(separator, list(layout.names), first)
    reader = csv.reader(iter(lines[first:]), delimiter=separator) if len(separator) == 1 else None
    names = next(reader) if reader is not None else lines[first].rstrip("\r\n").split(separator)
    if _is_row(names):
        tell(f"{path}: it has no header, so its columns of numbers are called 0, 1, ...")
        return Shape(separator, _numbered(names), first)
    names[0] = names[0].lstrip("# ") if lines[first].startswith("#") else names[0]
    after = first + (reader.line_num if reader else 1)
    return Shape(separator, [name.strip("\ufeff \t\u00a0") for name in names], after)


def _is_row(names: list[str]) -> bool:
    """Return whether the first line is a vector, with or without an id, instead of column names."""
    numbers = [name for name in names if re.fullmatch(r"-?\d*\.\d+([eE][-+]?\d+)?", name.strip())]
    odd = [name for name in numbers if name.strip().startswith("-") or len(name.strip()) > 6]
    return len(numbers) > 3 and len(odd) > 1 and len(names) - len(numbers) < 2


def _numbered(values: list[str]) -> list[str]:
    """Return names for the columns of a table without header: `id` for text, and 0, 1, ... for numbers."""
    names, count = [], 0
    for value in values:
        number = re.fullmatch(NUMBER, value.strip()) is not None and "." in value
        names.append(str(count) if number else "id")
        count += number
    return names


def _is_tsv(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))


def _separator(lines: list[str], first: str | None, named: int | None) -> str:
    """Return the separator that splits all of the first lines into equally many columns; of several, into the most.

    Args:
        lines: the lines, from the header on.
        first: the usual separator for the ending of the file.
        named: number of columns, if it is known.
    """
    there = [sign for sign in dict.fromkeys([first or ",", *SEPARATORS]) if sign in lines[0]]
    widths = {sign: {len(record) for record in _split(lines, sign)} for sign in there}
    whole = [sign for sign in there if len(widths[sign]) == 1]
    if first in whole:
        return first
    fitting = [sign for sign in whole if named in widths[sign]] or whole
    if fitting:
        return max(fitting, key=lambda sign: max(widths[sign]))
    return there[0] if there else first or PARTED  # a single column, whose values may contain any text


def _split(lines: list[str], separator: str) -> list[list[str]]:
    """Return the first records, without quoting if all rows then have the same length, else with quoting."""
    plain = [line.rstrip("\r\n").split(separator) for line in lines if line.strip()][:SAMPLE]
    if len(separator) > 1 or len({len(record) for record in plain}) == 1:
        return plain
    records = (record for record in csv.reader(iter(lines), delimiter=separator) if record)
    quoted = list(islice(records, SAMPLE))
    return quoted[:-1] if len(quoted) > 1 else quoted  # the last may be incomplete
