"""Concatenate tables that are parts of one, even if a column has different types in the parts."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.importing.canonical import as_text, is_list

EXACT = 2**53  # from this number on, whole numbers are not exact as floats


def merged(tables: Sequence[pa.Table], where: str) -> pa.Table:
    """Return one table of all rows; a column that a part does not have is null there.

    Args:
        tables: the parts, in the order of their rows.
        where: name of the parts in errors.

    Raises:
        SpaceError: a column holds lists in one part and something else in another.
    """
    names = dict.fromkeys(name for table in tables for name in table.column_names)
    if len(tables) == 1:
        return tables[0]
    columns = {}
    for name in names:
        parts = [
            table[name] if name in table.column_names else pa.chunked_array([pa.nulls(table.num_rows)])
            for table in tables
        ]
        try:
            columns[name] = _column(parts)
        except (pa.ArrowException, SpaceError):
            kinds = sorted({str(part.type) for part in parts})
            raise SpaceError(
                f"{where}: column {name!r} has {' and '.join(kinds)} in its parts; save it with one type in all parts"
            ) from None
    return pa.table(columns)


def _column(parts: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    kinds = {part.type for part in parts if not pa.types.is_null(part.type)}
    if len(kinds) > 1 and not _fit(parts, kinds):
        if any(is_list(kind) for kind in kinds):
            return _lists(parts)
        unsigned = all(_unsigned(part) for part in parts)
        parts = [part.cast(pa.uint64()) if unsigned else as_text(part) for part in parts]
    tables = [pa.table({"x": part}) for part in parts]
    return pa.concat_tables(tables, promote_options="permissive")["x"]


def _unsigned(part: pa.ChunkedArray) -> bool:
    """Return whether a part has only whole numbers of at least 0, or nulls."""
    return pa.types.is_null(part.type) or (pa.types.is_integer(part.type) and (pc.min(part).as_py() or 0) >= 0)


def _fit(parts: list[pa.ChunkedArray], kinds: set[pa.DataType]) -> bool:
    """Return whether arrow can convert these types to one type without loss."""
    whole = [part for part in parts if pa.types.is_integer(part.type)]
    if any(pa.types.is_floating(kind) for kind in kinds) and whole:
        bounds = [pc.min_max(part).as_py() for part in whole]
        if any(max(abs(b["min"] or 0), abs(b["max"] or 0)) >= EXACT for b in bounds):
            return False
    if any(kind == pa.uint64() for kind in kinds):  # no other type has room for its largest numbers
        return False
    try:
        pa.unify_schemas([pa.schema([("x", kind)]) for kind in kinds], promote_options="permissive")
    except pa.ArrowException:
        return False
    return True


def _lists(parts: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Return lists from parts with lists of different types or with single values; as lists of text if necessary."""
    values = [value for part in parts for value in part.to_pylist()]
    lists = [value if isinstance(value, list) or value is None else [value] for value in values]
    try:
        return pa.chunked_array([pa.array(lists)])
    except (pa.ArrowException, TypeError, ValueError):
        texts = [None if one is None else [None if x is None else str(x) for x in one] for one in lists]
        return pa.chunked_array([pa.array(texts, pa.list_(pa.string()))])
