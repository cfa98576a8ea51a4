"""Read csv and other delimited text tables; errors name the line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.importing import text_files
from vectalk.space.importing.column_types import typed
from vectalk.space.importing.quoting import Quoting, quoting_of, read_plain, unescaped
from vectalk.space.importing.table_shape import PARTED, Layout, Shape, shape_of
from vectalk.space.importing.text_files import Tell, encoding_of

BLOCK = 1 << 28  # largest size of a row, in bytes


def read_delimited(
    path: Path, layout: Layout | None = None, tell: Tell = lambda message: None
) -> tuple[pa.Table, Shape]:
    """Read a text table with all columns as strings; `\\N` is null.

    Args:
        path: the file, also gzipped.
        layout: its layout, if known.
        tell: called with what was guessed.

    Raises:
        SpaceError: the file is not text, a row has too many or too few values, or a quotation mark is never closed.
    """
    layout = layout or Layout()
    encoding = encoding_of(path, layout.encoding, tell)
    shape = shape_of(path, encoding, layout, tell)
    quoting = quoting_of(path, encoding, shape.separator, shape.before, len(shape.names))
    try:
        table = _parsed(path, encoding, quoting, shape)
    except pa.ArrowInvalid as error:
        plain = read_plain(text_files.lines_of(path, encoding), shape.separator, shape.before, len(shape.names))
        problem = plain.problem if quoting is Quoting.NONE and plain.problem else " ".join(str(error).split())
        raise SpaceError(f"{path}, {problem}") from None
    return _named(table, shape.names, path), shape


def with_types(table: pa.Table, shape: Shape, text: Sequence[str]) -> pa.Table:
    """Return the table with columns of numbers where all values are numbers; columns in `text` stay unchanged."""
    commas = shape.separator == ";"  # spreadsheets with decimal commas separate columns with semicolons
    columns = [
        table[name] if name in text else typed(table[name], decimal_commas=commas) for name in table.column_names
    ]
    return pa.table(columns, names=table.column_names)


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of the last line of each row, and the row by column names, of a small table filled in by people.

    Rows may be short, because spreadsheets omit empty values at the end of a row. Blank rows are skipped.

    Raises:
        SpaceError: the file is not text.
    """
    encoding = encoding_of(path)
    shape = shape_of(path, encoding, Layout())
    lines = islice(text_files.lines_of(path, encoding), shape.before, None)
    reader = csv.reader(lines, delimiter=shape.separator[0])
    try:
        for record in reader:
            if any(map(str.strip, record)):
                row = zip_longest(shape.names, record[: len(shape.names)], fillvalue="")
                yield shape.before + reader.line_num, dict(row)
    except csv.Error as error:
        raise SpaceError(f"{path}, line {shape.before + reader.line_num}: {error}") from None


def _stream(path: Path, encoding: str, separator: str, quoting: Quoting) -> tuple[IO[bytes], str]:
    """Return the bytes of a table for the csv reader, and their encoding."""
    if quoting is not Quoting.ESCAPED and len(separator) == 1:
        return text_files.opened(path), "utf8" if encoding == text_files.UTF8 else encoding
    text = text_files.text_of(path, encoding)
    if len(separator) > 1:
        if PARTED in text:
            raise SpaceError(f"{path} contains the character {PARTED!r}; remove it")
        text = text.replace(separator, PARTED)
    return io.BytesIO((unescaped(text) if quoting is Quoting.ESCAPED else text).encode()), "utf8"


def _parsed(path: Path, encoding: str, quoting: Quoting, shape: Shape) -> pa.Table:
    import pyarrow.csv

    names = [f"c{place}" for place in range(len(shape.names))]
    quotes: dict[str, Any] = {"quote_char": False, "newlines_in_values": False}
    if quoting is not Quoting.NONE:
        quotes = {"quote_char": '"', "double_quote": True, "newlines_in_values": True}
    alone = len(names) == 1  # then a blank line is a row with an empty value
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
    """Remove empty rows at the end, as spreadsheets write them."""
    rows = table.num_rows
    while rows and all(not table[name][rows - 1].as_py() for name in table.column_names):
        rows -= 1
    return table.slice(0, rows)


def _named(table: pa.Table, names: list[str], path: Path) -> pa.Table:
    """Name the columns; leave out columns without a name and without values."""
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
                "give one of them another name in the file; if the file has no header, name the columns with "
                "--column-names"
            )
        columns[name] = values
    return pa.table(columns)
