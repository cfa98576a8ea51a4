"""Structs and other wrappings of a table's columns, undone: a column for each field, and values as they are."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.importing.canonical import is_bytes, plain
from vectalk.space.importing.json_shapes import WRAPPERS


def flattened(table: pa.Table, where: str) -> pa.Table:
    """Return a table whose columns are no structs, dictionaries or extension types.

    A struct becomes a column for each field, called `outer.inner`; the fields of a `payload` or `metadata` are called
    `inner`, unless the table has such a column. Bytes that are text become text.

    Args:
        table: the table.
        where: names it in errors.

    Raises:
        SpaceError: two columns would have one name.
    """
    columns = {name: _plain(table[name]) for name in table.column_names}
    while any(pa.types.is_struct(values.type) for values in columns.values()):
        fields = [
            (name, field.removeprefix("x."), _plain(values))
            for name, struct in columns.items()
            if pa.types.is_struct(struct.type)
            for field, values in _fields(struct).items()
        ]
        found = {name: values for name, values in columns.items() if not pa.types.is_struct(values.type)}
        for name, field, values in sorted(fields, key=lambda one: one[0] in WRAPPERS):  # these come last
            called = field if name in WRAPPERS and field not in found else f"{name}.{field}"
            if called in found:
                raise SpaceError(f"{where} has two columns called {called!r}; rename one of them")
            found[called] = values
        columns = found
    return pa.table(columns)


def _fields(struct: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    table = pa.table({"x": struct}).flatten()
    return {name: table.column(place) for place, name in enumerate(table.column_names)}


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(values.type, pa.FixedShapeTensorType):  # its shape is the vector columns' matter
        return values
    values = plain(values)
    return _as_text(values) if is_bytes(values.type) else values


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return bytes as text where all are, else as they are: vectors may be stored as bytes."""
    try:
        texts = values.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return values
    control = pc.match_substring_regex(texts, r"[\x00-\x08\x0e-\x1f\x7f]")
    return values if pc.any(control).as_py() or not pc.any(pc.is_valid(texts)).as_py() else texts
