"""How a table of text is laid out: what parts its columns, what these are called, and where its rows begin."""

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
SAMPLE = 200  # records that tell what parts the columns
HEAD = 1 << 20  # characters among which these are
PARTED = "\x1f"  # stands for a separator of several signs, which readers of csv do not know


@dataclass(frozen=True)
class Layout:
    """How a table of text is laid out, where its file leaves that open.

    Attributes:
        separator: what parts the columns: `,`, `;`, a tab, `|`, `::` or anything else; found out when omitted.
        encoding: e.g. `cp1251`; UTF-8 or Windows' (cp1252) when omitted.
        names: of the columns, for a table whose first line is a row already.
    """

    separator: str | None = None
    encoding: str | None = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.separator is not None and (not self.separator or set(self.separator) & set('"\r\n')):
            raise SpaceError(f"separator {self.separator!r} parts no columns; take e.g. ',', ';', '|' or '::'")
        repeated = [name for name in self.names or () if list(self.names or ()).count(name) > 1]
        if repeated or not all(name.strip() for name in self.names or ()):
            raise SpaceError(f"column names {','.join(self.names or ())!r}: each column needs a name of its own")


@dataclass(frozen=True)
class Shape:
    """What the first lines of a table of text say: its separator, names, and how many lines stand before the rows."""

    separator: str
    names: list[str]
    before: int


def shape_of(path: Path, encoding: str, layout: Layout, tell: Tell = lambda message: None) -> Shape:
    """Find out what parts the columns of a file, and their names, from its first lines.

    Args:
        path: the file.
        encoding: its encoding.
        layout: what is known.
        tell: hears what was guessed.

    Raises:
        SpaceError: the file is empty, is no table of text, or has another number of columns than was said.
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
        lines.pop()  # half of one
    start = next((place for place, line in enumerate(lines) if line.strip()), len(lines))
    said = re.match(r'^"?sep=(.+?)"?\s*$', lines[start], re.I) if start < len(lines) else None  # as Excel writes
    start += said is not None
    if start >= len(lines):
        raise SpaceError(f"{path} is empty")
    first = next((n for n in range(start, len(lines)) if lines[n].strip() and lines[n][0] != "#"), start)
    given = layout.separator or (said[1] if said else None)
    named = None if layout.names is None else len(layout.names)
    separator = given or _separator(lines[first:], "\t" if _is_tsv(path) else None, named)
    width = len(_split(lines[first:], separator)[0])
    # A line that begins with # and has the width of the rows names the columns; others are comments.
    while start < first and len(_split(lines[first - 1 : first], separator)[0]) == width > 1:
        first -= 1
    if layout.names is not None:
        if named != width:
            raise SpaceError(f"{path} has {width} columns; --column-names gives {named}")
        return Shape(separator, list(layout.names), first)
    reader = csv.reader(iter(lines[first:]), delimiter=separator) if len(separator) == 1 else None
    names = next(reader) if reader is not None else lines[first].rstrip("\r\n").split(separator)
    if _is_row(names):
        tell(f"{path}: its first line is a row already, so that its columns of numbers are called 0, 1, ...")
        return Shape(separator, _numbered(names), first)
    names[0] = names[0].lstrip("# ") if lines[first].startswith("#") else names[0]
    after = first + (reader.line_num if reader else 1)
    return Shape(separator, [name.strip("\ufeff \t\u00a0") for name in names], after)


def _is_row(names: list[str]) -> bool:
    """Say whether what should be names are a vector, with or without an id: numbers as no column is called."""
    numbers = [name for name in names if re.fullmatch(r"-?\d*\.\d+([eE][-+]?\d+)?", name.strip())]
    odd = [name for name in numbers if name.strip().startswith("-") or len(name.strip()) > 6]
    return len(numbers) > 3 and len(odd) > 1 and len(names) - len(numbers) < 2


def _numbered(values: list[str]) -> list[str]:
    """Return names for the columns of a row: `id` for one that holds no number, and the others' numbers."""
    names, count = [], 0
    for value in values:
        number = re.fullmatch(NUMBER, value.strip()) is not None and "." in value
        names.append(str(count) if number else "id")
        count += number
    return names


def _is_tsv(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))


def _separator(lines: list[str], first: str | None, named: int | None) -> str:
    """Return the sign that parts all of the first lines alike; where several do, the one that gives most columns.

    Args:
        lines: from that of the names on.
        first: the sign that the file's ending speaks for.
        named: how many columns there are, where that is known.
    """
    there = [sign for sign in dict.fromkeys([first or ",", *SEPARATORS]) if sign in lines[0]]
    widths = {sign: {len(record) for record in _split(lines, sign)} for sign in there}
    whole = [sign for sign in there if len(widths[sign]) == 1]
    if first in whole:
        return first
    fitting = [sign for sign in whole if named in widths[sign]] or whole
    if fitting:
        return max(fitting, key=lambda sign: max(widths[sign]))
    return there[0] if there else first or PARTED  # one column alone, whose values may hold anything


def _split(lines: list[str], separator: str) -> list[list[str]]:
    """Return some of the first records, quotes understood where that gives rows of one length."""
    plain = [line.rstrip("\r\n").split(separator) for line in lines if line.strip()][:SAMPLE]
    if len(separator) > 1 or len({len(record) for record in plain}) == 1:
        return plain
    records = (record for record in csv.reader(iter(lines), delimiter=separator) if record)
    quoted = list(islice(records, SAMPLE))
    return quoted[:-1] if len(quoted) > 1 else quoted  # the last may be half of one
