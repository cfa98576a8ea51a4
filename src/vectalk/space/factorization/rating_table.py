"""The sources of ratings: a text file in any layout, or a table with names and types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from vectalk.errors import SpaceError
from vectalk.space.factorization.delimited import Delimited
from vectalk.space.importing.table_files import kind_of
from vectalk.space.importing.tables import read_table

STORED = ("parquet", "jsonl", "ndjson", "json")  # formats with column names and types; all others are text


class RatingTable(Protocol):
    """A table of ratings, before the columns are chosen.

    Attributes:
        where: its name in errors.
        names: names of its columns.
        sample: some rows, as text; empty if the columns have names and types.
        named: whether the names come from the source, not from positions.
        commas: whether a comma may be a decimal comma.
        layout: its layout, in words.
        by_item: whether the first column is the item, whatever its name.
    """

    where: str
    names: list[str]
    sample: Sequence[Sequence[str]]
    named: bool
    commas: bool
    layout: str
    by_item: bool

    def read(self, places: Mapping[str, int]) -> pa.Table:
        """Return the columns at the positions `places`, under the names that are their keys."""
        ...

    def line(self, row: int) -> str:
        """Return the line or row in the source, in words."""
        ...


def open_ratings(
    source: str | Path | pa.Table, known: Callable[[str], bool], separator: str | None, header: bool | None
) -> RatingTable:
    """Open a file or a table of ratings.

    Args:
        source: the file, or the table.
        known: returns whether a name looks like that of a column of ratings.
        separator: see `Delimited.open`.
        header: see `Delimited.open`.

    Raises:
        SpaceError: the file does not exist, or it is broken.
    """
    if isinstance(source, pa.Table):
        return _Stored(source, "the ratings")
    path = Path(source)
    if is_stored(path):
        return _Stored(read_table(path), str(path))
    if not path.is_file():
        raise SpaceError(f"{path} does not exist")
    return _Text(Delimited.open(path, known, separator=separator, header=header))


def is_stored(path: Path) -> bool:
    """Return whether a file has column names and types, or is a folder."""
    return kind_of(path) in STORED or path.is_dir()


class _Text:
    def __init__(self, file: Delimited) -> None:
        self.where, self.names, self.by_item = str(file.path), file.names, file.by_item
        self.sample: Sequence[Sequence[str]] = file.sample
        self.named, self.commas, self.layout = file.header, file.separator != ",", f", {file}"
        self.read, self.line = file.read, file.line


class _Stored:
    sample: Sequence[Sequence[str]] = ()
    named, commas, layout, by_item = True, False, "", False

    def __init__(self, table: pa.Table, where: str) -> None:
        self.table, self.where, self.names = table, where, table.column_names

    def read(self, places: Mapping[str, int]) -> pa.Table:
        return pa.table({name: self.table.column(place) for name, place in places.items()})

    def line(self, row: int) -> str:
        return f"row {row}"
