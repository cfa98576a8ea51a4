"""Read tables from csv, tsv, parquet, arrow, jsonl and json files of spreadsheets, databases and pandas."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from vectalk.errors import SpaceError
from vectalk.space.importing.canonical import is_text
from vectalk.space.importing.column_types import typed
from vectalk.space.importing.delimited import read_delimited, with_types
from vectalk.space.importing.json_tables import read_json
from vectalk.space.importing.merge import merged
from vectalk.space.importing.parts import notes_on, parts_of
from vectalk.space.importing.structs import flattened
from vectalk.space.importing.table_shape import Layout
from vectalk.space.importing.text_files import Tell, reason_of

KINDS = ("csv", "tsv", "parquet", "jsonl", "json", "arrow", "feather")
DELIMITED = ("csv", "tsv", "tab", "psv", "txt", "dat", "data", "item", "user", "base", "test")
INDEX = ("", "Unnamed: 0", "__index_level_0__")  # names that pandas gives to an index without a name


def read_table(
    path: str | Path,
    text: Sequence[str] = ("id", "title"),
    layout: Layout | None = None,
    tell: Tell = lambda message: None,
) -> pa.Table:
    """Read a csv, tsv, parquet, arrow, feather, jsonl or json file (text also gzipped), or a folder of parts of one.

    Separator, quoting and encoding of a csv are guessed. Structs become columns called `outer.inner`. The index that
    pandas writes is left out if another column has the ids; otherwise it is called `index`.

    Args:
        path: the file; its ending names its format.
        text: columns of a csv that are read as text even if all values look like numbers. So is the column that
            `id_column` guesses, because `001` and `1` are different ids.
        layout: layout of a text table, if known; with a separator, the file may have any ending.
        tell: called with what was guessed, and with the order of the parts.

    Raises:
        SpaceError: the file is missing, of another kind, or broken.
    """
    path = Path(path)
    if not path.exists():
        raise SpaceError(f"{path} does not exist")
    if not path.is_dir():
        return _without_index(_read(path, kind_of(path), text, layout, tell))
    parts, kind = parts_of(path)
    for note in notes_on(parts, path):
        tell(note)
    tables = []
    for part in parts:
        table = _read(part.path, kind, text, layout, tell)
        for name, value in part.columns.items():
            if name not in table.column_names:
                table = table.append_column(name, pa.array([value] * table.num_rows, pa.string()))
        tables.append(table)
    table = merged(tables, str(path))
    for name in dict.fromkeys(name for part in parts for name in part.columns):
        place = table.column_names.index(name)
        if is_text(table[name].type) and name not in text:
            table = table.set_column(place, name, typed(table[name]))
    return _without_index(table)


def read_row(path: Path, row: int) -> dict[str, Any]:
    """Return one row of a parquet file; read only its row group."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        group = start = 0
        while row >= start + file.metadata.row_group(group).num_rows:
            start += file.metadata.row_group(group).num_rows
            group += 1
        return file.read_row_group(group).slice(row - start, 1).to_pylist()[0]


def kind_of(path: Path) -> str:
    """Return the ending of a file name, in lower case and without `.gz`."""
    return path.name.lower().removesuffix(".gz").rpartition(".")[2]


def guess_id(names: Sequence[str], *, alone: bool = True) -> str | None:
    """Return the column that clearly has ids: `id`, the only column, the only one like `filmId`, or `index`; else None.

    Args:
        names: names of the columns.
        alone: whether a single column has ids, whatever its name.
    """
    for matches in (
        [name for name in names if name == "id"],
        [name for name in names if name.lower() == "id"],
        names if alone else [],
        [name for name in names if re.search(r"(Id|ID|[-_ ]id)$", name)],
        [name for name in names if name == "index"],
    ):
        if len(matches) == 1:
            return matches[0]
    return None


def _read(path: Path, kind: str, text: Sequence[str], layout: Layout | None, tell: Tell) -> pa.Table:
    """Read one file; turn every error of a broken file into a SpaceError."""
    layout = layout or Layout()
    try:
        if kind in DELIMITED or (layout.separator is not None and kind not in KINDS):
            table, shape = read_delimited(path, layout, tell)
            guessed = guess_id([name for name in table.column_names if name not in INDEX])
            titles = [name for name in table.column_names if name.lower() == "title"]
            return with_types(table, shape, [*text, *INDEX, *titles, *([guessed] if guessed else [])])
        if kind == "parquet":
            return flattened(_checked(_parquet(path), path), str(path))
        if kind in ("arrow", "feather", "ipc"):
            return flattened(_checked(_arrow(path), path), str(path))
        if kind in ("jsonl", "ndjson", "json"):
            return read_json(path, lines=kind != "json", encoding=layout.encoding)
    except SpaceError:
        raise
    except Exception as error:  # the libraries raise many kinds of errors
        raise SpaceError(f"{path} cannot be read as {kind}: {reason_of(error)}") from None
    advice = "; save the sheet as csv" if kind in ("xlsx", "xls", "ods", "numbers") else ""
    raise SpaceError(f"{path}: unknown kind of table {kind!r}; allowed are {', '.join(KINDS)}, also with .gz{advice}")


def _parquet(path: Path) -> pa.Table:
    import pyarrow.parquet

    with path.open("rb") as file:
        if file.read(2) == b"\x1f\x8b":
            raise SpaceError(f"{path} is gzipped, but parquet has its own compression; unpack it: gunzip {path}")
    with pyarrow.parquet.ParquetFile(path) as file:
        return file.read()


def _arrow(path: Path) -> pa.Table:
    """Read an arrow or feather file, or an arrow stream as Hugging Face `datasets` saves it."""
    import pyarrow.feather
    import pyarrow.ipc

    with path.open("rb") as file:
        mark = file.read(6)
    if mark[:4] == b"FEA1":
        return pyarrow.feather.read_table(path)
    with pa.memory_map(str(path)) as source:
        reader = pyarrow.ipc.open_file(source) if mark == b"ARROW1" else pyarrow.ipc.open_stream(source)
        return reader.read_all()


def _checked(table: pa.Table, path: Path) -> pa.Table:
    """Return the table.

    Raises:
        SpaceError: two columns have the same name, or a column has invalid values.
    """
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SpaceError(f"{path} has {names.count(twice)} columns called {twice!r}; give each its own name")
    for place, name in enumerate(names):
        try:
            table.column(place).validate(full=True)
        except pa.ArrowInvalid as error:
            raise SpaceError(f"{path}: column {name!r} cannot be read: {error}; text must be UTF-8") from None
    return table.replace_schema_metadata(None)


def _without_index(table: pa.Table) -> pa.Table:
    """Leave out the index that pandas writes if another column has the ids, else call it `index`."""
    names = table.column_names
    index_names = [name for name in names if name in INDEX]
    if not index_names or "index" in names:
        return table
    others = [name for name in names if name not in INDEX]
    if len(others) > 1 and guess_id(others) is not None:
        return table.select(others)
    return table.rename_columns(["index" if name == index_names[0] else name for name in names])
