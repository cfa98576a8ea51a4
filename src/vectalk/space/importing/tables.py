"""Metadata tables: find columns and ids, and prepare columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.importing.canonical import as_text as as_text
from vectalk.space.importing.canonical import is_list as is_list
from vectalk.space.importing.canonical import is_text as is_text
from vectalk.space.importing.column_types import typed
from vectalk.space.importing.lists import lists_of, named_objects, note_unsplit
from vectalk.space.importing.table_files import guess_id as guess_id
from vectalk.space.importing.table_files import read_table as read_table
from vectalk.space.importing.table_shape import Layout as Layout


@dataclass(frozen=True)
class Columns:
    """How to prepare the columns of a metadata table, in this order.

    Attributes:
        rename: new name by old name.
        null_values: values that mean "unknown" in any column, such as `(no genres listed)` or `-1`. A text column in
            which all other values are numbers becomes a column of numbers.
        extract: (column, regular expression) by new column: the first group, or the full match; integers if all are.
        list_columns: separator by column, so that `Comedy|Drama` becomes a list. Lists written as text, such as
            `['Comedy', 'Drama']`, are recognised. For lists of objects, such as `[{'id': 35, 'name': 'Comedy'}]`, it is
            the field to use (`name` if there is no such field).
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
                raise SpaceError(f"extract {name!r}: {pattern!r} is not a regular expression: {error}") from None
        for name, sign in self.list_columns.items():
            if not sign:
                raise SpaceError(f"list column {name!r}: the separator between its values is missing; give e.g. '|'")

    def apply(self, table: pa.Table, where: str, tell: Callable[[str], None] = lambda message: None) -> pa.Table:
        """Return the prepared table.

        Args:
            table: the metadata.
            where: name of the table in errors.
            tell: called with possible mistakes.

        Raises:
            SpaceError: a column is missing, or two columns would have the same name.
        """
        for old in self.rename:
            column(table, old, where)
        table = _rename(table, self.rename)
        repeated = [name for name in table.column_names if table.column_names.count(name) > 1]
        if repeated:
            raise SpaceError(f"{where}: two columns would be called {repeated[0]!r}; choose another name")
        for at, name in enumerate(table.column_names):
            if is_text(table[name].type):
                table = table.set_column(at, name, self._known(name, table[name]))
            elif pa.types.is_integer(table[name].type) or pa.types.is_floating(table[name].type):
                table = table.set_column(at, name, self._known_number(table[name]))
        for name, (source, pattern) in self.extract.items():
            if name in table.column_names:
                raise SpaceError(f"{where}: column {name!r} already exists; choose another name for the new column")
            table = table.append_column(name, _extract(table, name, source, pattern, where))
        for name, sign in self.list_columns.items():
            values = table[column(table, name, where)]
            lists = lists_of(values, sign, f"{where}: list column {name!r}")
            note_unsplit(lists, values, name, sign, tell)
            table = table.set_column(table.column_names.index(name), name, lists)
        return _with_title(_with_names(table, where, tell), where, tell)

    def renamed(self, table: pa.Table) -> tuple[Columns, pa.Table]:
        """Return the preparation that remains for after a join, and the table with renamed columns."""
        left = {old: new for old, new in self.rename.items() if old not in table.column_names}
        return replace(self, rename=left), _rename(table, self.rename)

    def _known(self, name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return a text column, trimmed and in one Unicode form, with null for unknown values."""
        trimmed = pc.utf8_trim_whitespace(values)
        if name != "id":  # ids must stay unchanged, because other files have them too
            trimmed = pc.utf8_normalize(trimmed, "NFC")
        named = pc.is_in(trimmed, pa.array(list(self.null_values), values.type))
        known = pc.if_else(pc.or_(named, pc.equal(trimmed, "")), pa.scalar(None, values.type), trimmed)
        numbers = name not in ("id", "title") and pc.any(named).as_py()
        return typed(known.cast(pa.string())) if numbers else known

    def _known_number(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        numbers = [float(word) for word in self.null_values if re.fullmatch(r"[-+]?\d+(\.\d+)?", word.strip())]
        if not numbers:
            return values
        unknown = pc.is_in(values.cast(pa.float64(), safe=False), pa.array(numbers, pa.float64()))
        return pc.if_else(unknown, pa.scalar(None, values.type), values)


def title_column(names: Sequence[str]) -> str | None:
    """Return the column of titles: `title`, or the only one with this name in other capitals; None if there is none."""
    if "title" in names:
        return "title"
    matches = [name for name in names if name.lower() == "title"]
    return matches[0] if len(matches) == 1 else None


def _with_names(table: pa.Table, where: str, tell: Callable[[str], None]) -> pa.Table:
    """Return the table with names instead of objects in its lists, so that the lists can be put into words."""
    for place, name in enumerate(table.column_names):
        objects = named_objects(table[name], f"{where}: column {name!r}") if name not in ("id", "title") else None
        if objects is not None:
            lists, field = objects
            tell(f"column {name!r} has lists of objects: {field!r} is used (for another: --list-column '{name}:FIELD')")
            table = table.set_column(place, name, lists)
    return table


def _with_title(table: pa.Table, where: str, tell: Callable[[str], None]) -> pa.Table:
    """Return the table with its titles as a text column `title`."""
    name = title_column(table.column_names)
    if name is None:
        return table
    try:
        titles = as_text(table[name])
    except SpaceError as error:
        raise SpaceError(f"{where}: column {name!r} does not have titles: {error}; rename it with --rename") from None
    return table.set_column(table.column_names.index(name), "title", titles)


def _rename(table: pa.Table, names: Mapping[str, str]) -> pa.Table:
    return table.rename_columns([names.get(name, name) for name in table.column_names])


def column_list(names: Sequence[str]) -> str:
    """Return the first twenty names, for an error."""
    return ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")


def column(table: pa.Table, name: str, where: str) -> str:
    """Return `name`, or raise a SpaceError that lists the existing columns."""
    if name not in table.column_names:
        raise SpaceError(f"{where} has no column {name!r}; it has {column_list(table.column_names)}")
    return name


def id_column(table: pa.Table, requested: str | None, where: str, option: str) -> str:
    """Return the column of ids: the requested one, `id`, the only column, or the only one with a name like `filmId`."""
    if requested is not None:
        return column(table, requested, where)
    guess = guess_id(table.column_names)
    if guess is None:
        row = any(re.fullmatch(r"\d+|\d.*::.*", name) for name in table.column_names)
        hint = "; if the file has no header, name the columns with --column-names" if row else ""
        there = column_list(table.column_names)
        raise SpaceError(
            f"{where}: the column of the ids is not clear; name it with {option}; the columns are {there}{hint}"
        )
    return guess


def _extract(table: pa.Table, name: str, source: str, pattern: str, where: str) -> pa.Array:
    regex = re.compile(pattern)
    group = 1 if regex.groups else 0
    texts = table[column(table, source, where)].cast(pa.string()).to_pylist()
    matches = [regex.search(text) if text is not None else None for text in texts]
    values = [match.group(group) if match else None for match in matches]
    if table.num_rows and not any(values):
        example = next((text for text in texts if text is not None), None)
        raise SpaceError(f"{where}: extract {name!r}: {pattern!r} matches no value of {source!r}, such as {example!r}")
    whole = all(value is None or re.fullmatch(r"-?\d{1,18}", value) for value in values)
    return pa.array([None if value is None else int(value) for value in values] if whole else values)
