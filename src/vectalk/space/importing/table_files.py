"""Tables from files: csv, tsv, parquet, jsonl and json, as spreadsheets, databases and pandas write them."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from vectalk.errors import SpaceError

KINDS = ("csv", "tsv", "parquet", "jsonl", "json")
INDEX = ("", "Unnamed: 0", "__index_level_0__")  # how pandas calls an index that has no name
BLOCK = 1 << 28  # bytes of a csv from which the types of its columns are inferred


def read_table(path: str | Path, text: Sequence[str] = ("id", "title")) -> pa.Table:
    """Read a csv, tsv, parquet, jsonl or json file (text also as `.gz`), or a folder of parquet files.

    A csv may part its columns with semicolons or tabs. The index that pandas writes is left out where another column
    holds the ids, and is called `index` otherwise.

    Args:
        path: the file; its ending says what it is.
        text: columns of a csv that are text even where all of them look like numbers; so is the one that
            `id_column` guesses, since `001` is an id and 1 another.

    Raises:
        SpaceError: the file is missing, of another kind, or broken.
    """
    import pyarrow.parquet

    path = Path(path)
    parts = sorted(path.glob("*.parquet")) if path.is_dir() else []
    if not path.is_file() and not parts:
        raise SpaceError(f"{path} does not exist" if not path.exists() else f"{path} is a folder; name a file in it")
    kind = "parquet" if parts else kind_of(path)
    try:
        if kind in ("csv", "tsv"):
            table = _delimited(path, text)
        elif kind == "parquet":
            table = pa.concat_tables([pyarrow.parquet.read_table(part) for part in parts or [path]])
        elif kind in ("jsonl", "ndjson"):
            table = _json_lines(path)
        elif kind == "json":
            table = _json_list(path)
        else:
            raise SpaceError(f"{path}: unknown kind of table {kind!r}; allowed are {', '.join(KINDS)}, also with .gz")
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(f"{path} cannot be read as {kind}: {' '.join(str(error).split())}{_remedy(error)}") from None
    return _without_index(_plain(table))


def read_row(path: Path, row: int) -> dict[str, Any]:
    """Read one row of a parquet file, and no more of it than the group of rows that it lies in."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        group = start = 0
        while row >= start + file.metadata.row_group(group).num_rows:
            start += file.metadata.row_group(group).num_rows
            group += 1
        return file.read_row_group(group).slice(row - start, 1).to_pylist()[0]


def kind_of(path: Path) -> str:
    """Return the ending that tells what a file is, without `.gz`."""
    return path.name.lower().removesuffix(".gz").rpartition(".")[2]


def guess_id(names: Sequence[str]) -> str | None:
    """Return the column that clearly holds ids: `id`, the only one, the only one called like `filmId`, or `index`."""
    for found in (
        [name for name in names if name.lower() == "id"],
        names,
        [name for name in names if re.search(r"(Id|ID|[-_ ]id)$", name)],
        [name for name in names if name == "index"],
    ):
        if len(found) == 1:
            return found[0]
    return None


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _delimited(path: Path, text: Sequence[str]) -> pa.Table:
    import pyarrow.csv

    with _opened(path) as file:
        head = file.readline(1_000_000)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SpaceError(f"{path} is written in UTF-16; save it as UTF-8")
    parse = pyarrow.csv.ParseOptions(delimiter=_delimiter(kind_of(path), head), newlines_in_values=True)
    with pyarrow.csv.open_csv(path, parse_options=parse) as reader:
        names = reader.schema.names
    guessed = guess_id([name for name in names if name not in INDEX])
    types = dict.fromkeys([*text, *INDEX, *([guessed] if guessed else [])], pa.string())
    convert = pyarrow.csv.ConvertOptions(column_types=types)
    # Types are inferred from one block: a small one would take a column for numbers whose first text comes late.
    size = min(max(path.stat().st_size, 1 << 20), BLOCK)
    read = pyarrow.csv.ReadOptions(block_size=BLOCK if path.name.lower().endswith(".gz") else size)
    return pyarrow.csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)


def _delimiter(kind: str, head: bytes) -> str:
    if kind == "tsv":
        return "\t"
    # Where commas are decimal signs, spreadsheets write semicolons.
    return next((sign for sign in ",;\t" if sign.encode() in head), ",")


def _json_lines(path: Path) -> pa.Table:
    import pyarrow.json

    return pyarrow.json.read_json(path)


def _json_list(path: Path) -> pa.Table:
    with _opened(path) as file:
        rows: Any = json.load(file)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SpaceError(f"{path}: a table in json is a list of objects, one a row: [{{'id': ..., 'title': ...}}, ...]")
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _remedy(error: Exception) -> str:
    if re.search("utf-?8", str(error), re.IGNORECASE):
        return "; save it as UTF-8"
    return ""


def _plain(table: pa.Table) -> pa.Table:
    """Return the table with values in place of dictionaries, and text as text: how a column is stored is no matter."""
    for at, field in enumerate(table.schema):
        kind = field.type
        if pa.types.is_dictionary(kind):
            table = table.set_column(at, field.name, table[at].cast(kind.value_type))
        elif pa.types.is_string_view(kind):
            table = table.set_column(at, field.name, table[at].cast(pa.string()))
    return table.replace_schema_metadata(None)


def _without_index(table: pa.Table) -> pa.Table:
    """Leave out the index that pandas writes where other columns hold the ids, else call it `index`."""
    names = table.column_names
    found = [name for name in names if name in INDEX]
    if not found or "index" in names:
        return table
    others = [name for name in names if name not in INDEX]
    if len(others) > 1 and guess_id(others) is not None:
        return table.select(others)
    return table.rename_columns(["index" if name == found[0] else name for name in names])
