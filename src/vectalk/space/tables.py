"""Metadata tables from files (csv, tsv, parquet, jsonl), and the preparation of their columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError

READERS = ("csv", "tsv", "parquet", "jsonl")


@dataclass(frozen=True)
class Columns:
    """How the columns of a metadata table are prepared, in this order.

    Attributes:
        rename: old name -> new name.
        null_values: strings that stand for "unknown", such as `(no genres listed)`.
        extract: new column -> (column, regular expression): the first group, or the whole match; integers
            where all are.
        list_columns: column -> the sign between values: `Comedy|Drama` becomes a list.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    null_values: Sequence[str] = ()
    extract: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    list_columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (_, pattern) in self.extract.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise SpaceError(f"extract {name!r}: {pattern!r} is no regular expression: {error}") from None
        for name, sign in self.list_columns.items():
            if not sign:
                raise SpaceError(f"list column {name!r}: name the sign between its values, e.g. '|'")

    def apply(self, table: pa.Table, where: str) -> pa.Table:
        """Return the prepared table; `where` names it in errors."""
        for old in self.rename:
            column(table, old, where)
        table = table.rename_columns([self.rename.get(name, name) for name in table.column_names])
        repeated = [name for name in table.column_names if table.column_names.count(name) > 1]
        if repeated:
            raise SpaceError(f"{where}: {repeated[0]!r} would stand twice; rename it to something else")
        for at, name in enumerate(table.column_names):
            if is_text(table[name].type):
                table = table.set_column(at, name, _unknown(table[name], ["", *self.null_values]))
        for name, (source, pattern) in self.extract.items():
            if name in table.column_names:
                raise SpaceError(f"{where}: there is a column {name!r} already; extract into another name")
            table = table.append_column(name, _extract(table, name, source, pattern, where))
        for name, sign in self.list_columns.items():
            table = table.set_column(
                table.column_names.index(column(table, name, where)), name, _split(table, name, sign, where)
            )
        return table


def read_table(path: str | Path, text: Sequence[str] = ("id", "title")) -> pa.Table:
    """Read a csv, tsv, parquet or jsonl file (`.gz` too).

    Args:
        path: the file; its ending says what it is.
        text: columns of a csv that are text even where all of them look like numbers; so is the one that
            `id_column` guesses, since `001` is an id and 1 another.

    Raises:
        SpaceError: the file is missing, of another kind, or broken.
    """
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    path = Path(path)
    if not path.is_file():
        raise SpaceError(f"{path} does not exist" if not path.exists() else f"{path} is a folder; name a file in it")
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    try:
        if kind in ("csv", "tsv"):
            parse = pyarrow.csv.ParseOptions(delimiter="," if kind == "csv" else "\t", newlines_in_values=True)
            with pyarrow.csv.open_csv(path, parse_options=parse) as reader:
                guessed = guess_id(reader.schema.names)
            types = dict.fromkeys([*text, *([guessed] if guessed else [])], pa.string())
            convert = pyarrow.csv.ConvertOptions(column_types=types)
            return pyarrow.csv.read_csv(path, parse_options=parse, convert_options=convert)
        if kind == "parquet":
            return pyarrow.parquet.read_table(path)
        if kind in ("jsonl", "ndjson"):
            return pyarrow.json.read_json(path)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise SpaceError(f"{path} cannot be read as {kind}: {' '.join(str(error).split())}") from None
    raise SpaceError(f"{path}: unknown kind of table {kind!r}; allowed are {', '.join(READERS)}, also with .gz")


def column(table: pa.Table, name: str, where: str) -> str:
    """Return `name`, or raise a SpaceError that names the columns there are."""
    if name not in table.column_names:
        raise SpaceError(f"{where} has no column {name!r}; it has {', '.join(map(str, table.column_names))}")
    return name


def id_column(table: pa.Table, wanted: str | None, where: str, option: str) -> str:
    """Return the column of ids: the wanted one, `id`, the only one, or the only one called like `filmId`."""
    if wanted is not None:
        return column(table, wanted, where)
    found = guess_id(table.column_names)
    if found is None:
        there = ", ".join(table.column_names)
        raise SpaceError(f"{where}: which column holds the ids? Name it with {option}; there are {there}")
    return found


def guess_id(names: Sequence[str]) -> str | None:
    """Return the column that clearly holds ids, or None."""
    for found in (
        [name for name in names if name.lower() == "id"],
        names,
        [name for name in names if re.search(r"(Id|ID|[-_ ]id)$", name)],
    ):
        if len(found) == 1:
            return found[0]
    return None


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ids as strings; whole floats lose their `.0`."""
    if pa.types.is_floating(values.type) and pc.all(pc.equal(values, pc.floor(values))).as_py():
        values = values.cast(pa.int64())
    return values.cast(pa.string())


def is_text(kind: pa.DataType) -> bool:
    """Say whether a column holds strings."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_list(kind: pa.DataType) -> bool:
    """Say whether a column holds lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _unknown(values: pa.ChunkedArray, words: Sequence[str]) -> pa.ChunkedArray:
    trimmed = pc.utf8_trim_whitespace(values)
    known = pc.invert(pc.is_in(trimmed, pa.array(list(words), values.type)))
    return pc.if_else(known, trimmed, pa.scalar(None, values.type))


def _extract(table: pa.Table, name: str, source: str, pattern: str, where: str) -> pa.Array:
    regex = re.compile(pattern)
    group = 1 if regex.groups else 0
    texts = table[column(table, source, where)].cast(pa.string()).to_pylist()
    matches = [regex.search(text) if text is not None else None for text in texts]
    found = [match.group(group) if match else None for match in matches]
    if table.num_rows and not any(found):
        example = next((text for text in texts if text is not None), None)
        raise SpaceError(f"{where}: extract {name!r}: {pattern!r} matches no value of {source!r}, e.g. not {example!r}")
    whole = all(value is None or re.fullmatch(r"-?\d{1,18}", value) for value in found)
    return pa.array([None if value is None else int(value) for value in found] if whole else found)


def _split(table: pa.Table, name: str, sign: str, where: str) -> pa.Array:
    if not is_text(table[name].type):
        raise SpaceError(f"{where}: list column {name!r} holds {table[name].type}, not text to split at {sign!r}")
    # Unknown is an empty list: then "has no genres" and "genres unknown" need no two treatments.
    lists = [
        [part.strip() for part in text.split(sign) if part.strip()] if text is not None else []
        for text in table[name].to_pylist()
    ]
    return pa.array([list(dict.fromkeys(parts)) for parts in lists], pa.list_(pa.string()))
