"""Tables of delimited text, csv and its kin: what parts their columns, and each bad line by its number."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.importing import text_files
from vectalk.space.importing.column_types import typed
from vectalk.space.importing.quoting import Quoting, quoting_of, read_plain, unescaped
from vectalk.space.importing.text_files import Tell, encoding_of

SEPARATORS = (",", ";", "\t", "|", "::")
SAMPLE = 200  # records that tell what parts the columns
HEAD = 1 << 20  # characters among which these are
BLOCK = 1 << 28  # the most bytes that one row may have
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


def read_delimited(
    path: Path, layout: Layout | None = None, tell: Tell = lambda message: None
) -> tuple[pa.Table, Shape]:
    """Read a table of text with all its columns as strings; `\\N` is null.

    Args:
        path: the file, maybe gzipped.
        layout: what is known of it.
        tell: hears what was guessed.

    Raises:
        SpaceError: the file is no text, a row has too many or too few values, or a quotation mark is never closed.
    """
    layout = layout or Layout()
    encoding = encoding_of(path, layout.encoding, tell)
    shape = _shape(path, encoding, layout)
    quoting = quoting_of(path, encoding, shape.separator, shape.before, len(shape.names))
    try:
        table = _parsed(path, encoding, quoting, shape)
    except pa.ArrowInvalid as error:
        plain = read_plain(text_files.lines_of(path, encoding), shape.separator, shape.before, len(shape.names))
        problem = plain.problem if quoting is Quoting.NONE and plain.problem else " ".join(str(error).split())
        raise SpaceError(f"{path}, {problem}") from None
    return _named(table, shape.names, path), shape


def with_types(table: pa.Table, shape: Shape, text: Sequence[str]) -> pa.Table:
    """Return the table with numbers where all values of a column are; the columns called in `text` stay as they are."""
    commas = shape.separator == ";"  # where commas are decimal signs, spreadsheets part columns with semicolons
    columns = [
        table[name] if name in text else typed(table[name], decimal_commas=commas) for name in table.column_names
    ]
    return pa.table(columns, names=table.column_names)


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a small table that people filled in, by the names of its columns, each with its last line.

    A spreadsheet leaves empty values at the end of a row out, so that rows may be short; blank rows are passed over.

    Raises:
        SpaceError: the file is no text.
    """
    encoding = encoding_of(path)
    shape = _shape(path, encoding, Layout())
    lines = islice(text_files.lines_of(path, encoding), shape.before, None)
    reader = csv.reader(lines, delimiter=shape.separator[0])
    try:
        for record in reader:
            if any(map(str.strip, record)):
                row = zip_longest(shape.names, record[: len(shape.names)], fillvalue="")
                yield shape.before + reader.line_num, dict(row)
    except csv.Error as error:
        raise SpaceError(f"{path}, line {shape.before + reader.line_num}: {error}") from None


def _shape(path: Path, encoding: str, layout: Layout) -> Shape:
    """Find what parts the columns, and their names."""
    with text_files.open_text(path, encoding) as file:
        head = file.read(HEAD)
        cut = len(head) == HEAD
    lines = io.StringIO(head, newline="").readlines()
    if cut and len(lines) > 1:
        lines.pop()  # half of one
    separator, before = layout.separator, 0
    while before < len(lines) and not lines[before].strip():
        before += 1
    if before < len(lines) and (said := re.match(r'^"?sep=(.+?)"?\s*$', lines[before], re.I)):  # as Excel writes
        separator, before = separator or said[1], before + 1
    if before >= len(lines):
        raise SpaceError(f"{path} is empty")
    comments = before
    while comments < len(lines) and (lines[comments].startswith("#") or not lines[comments].strip()):
        comments += 1
    if comments == len(lines):
        comments = before
    named = None if layout.names is None else len(layout.names)
    separator = separator or _separator(lines[comments:], "\t" if _is_tsv(path) else None, named)
    width = len(_split(lines[comments:], separator)[0])
    # A line that begins with # and has the width of the rows names the columns.
    while before < comments and len(_split(lines[comments - 1 : comments], separator)[0]) == width > 1:
        comments -= 1
    if layout.names is not None:
        if len(layout.names) != width:
            raise SpaceError(f"{path} has {width} columns; --column-names gives {len(layout.names)}")
        return Shape(separator, list(layout.names), comments)
    reader = csv.reader(iter(lines[comments:]), delimiter=separator) if len(separator) == 1 else None
    names = next(reader) if reader is not None else lines[comments].rstrip("\r\n").split(separator)
    if comments > before or lines[comments].startswith("#"):
        names[0] = names[0].lstrip("# ")
    return Shape(
        separator, [name.strip("\ufeff \t\u00a0") for name in names], comments + (reader.line_num if reader else 1)
    )


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
    return max(fitting, key=lambda sign: max(widths[sign])) if fitting else there[0] if there else first or ","


def _split(lines: list[str], separator: str) -> list[list[str]]:
    """Return some of the first records, quotes understood where that gives rows of one length."""
    plain = [line.rstrip("\r\n").split(separator) for line in lines if line.strip()][:SAMPLE]
    if len(separator) > 1 or len({len(record) for record in plain}) == 1:
        return plain
    quoted: list[list[str]] = []
    for record in csv.reader(iter(lines), delimiter=separator, doublequote=True):
        if record and len(quoted) < SAMPLE:
            quoted.append(record)
    return quoted[:-1] if len(quoted) > 1 else quoted  # the last may be half of one


def _stream(path: Path, encoding: str, separator: str, quoting: Quoting) -> tuple[IO[bytes], str]:
    """Return the bytes of a table for a reader of csv, and their encoding."""
    if quoting is not Quoting.ESCAPED and len(separator) == 1:
        return text_files.opened(path), "utf8" if encoding == text_files.UTF8 else encoding
    text = text_files.text_of(path, encoding)
    if len(separator) > 1:
        if PARTED in text:
            raise SpaceError(f"{path} holds the sign {PARTED!r}; remove it")
        text = text.replace(separator, PARTED)
    return io.BytesIO((unescaped(text) if quoting is Quoting.ESCAPED else text).encode()), "utf8"


def _parsed(path: Path, encoding: str, quoting: Quoting, shape: Shape) -> pa.Table:
    import pyarrow.csv

    names = [f"c{place}" for place in range(len(shape.names))]
    quotes: dict[str, Any] = {"quote_char": False, "newlines_in_values": False}
    if quoting is not Quoting.NONE:
        quotes = {"quote_char": '"', "double_quote": True, "newlines_in_values": True}
    alone = len(names) == 1  # where a blank line is a row that lacks its value
    size = min(max(path.stat().st_size, 1 << 20), BLOCK)
    stream, encoding = _stream(path, encoding, shape.separator, quoting)
    separator = shape.separator if len(shape.separator) == 1 else PARTED
    try:
        with stream:
            table = pyarrow.csv.read_csv(
                stream,
                pyarrow.csv.ReadOptions(column_names=names, skip_rows=shape.before, encoding=encoding, block_size=size),
                pyarrow.csv.ParseOptions(delimiter=separator, ignore_empty_lines=not alone, **quotes),
                pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    null_values=[r"\N"],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
    except pa.ArrowInvalid as error:
        if "Empty CSV" not in str(error):
            raise
        return pa.table({name: pa.array([], pa.string()) for name in names})
    return _without_empty_end(table)


def _without_empty_end(table: pa.Table) -> pa.Table:
    """Leave out rows at the end in which no column holds anything, as spreadsheets leave them."""
    rows = table.num_rows
    while rows and all(not table[name][rows - 1].as_py() for name in table.column_names):
        rows -= 1
    return table.slice(0, rows)


def _named(table: pa.Table, names: list[str], path: Path) -> pa.Table:
    """Name the columns; those without a name are left out where they hold nothing."""
    columns: dict[str, pa.ChunkedArray] = {}
    for place, name in enumerate(names):
        values = table.column(place)
        if not name and place > 0:
            if pc.all(pc.equal(pc.fill_null(values, ""), "")).as_py() is not False:
                continue
            name = f"column_{place + 1}"
        if name in columns:
            raise SpaceError(
                f"{path}: columns {names.index(name) + 1} and {place + 1} are both called {name!r}; "
                "give one of them another name in the file"
            )
        columns[name] = values
    return pa.table(columns)
