"""Flatten structs and other wrapper types of a table: one column for each field, with plain values."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.importing.canonical import is_bytes, plain
from vectalk.space.importing.json_shapes import WRAPPERS


def flattened(table: pa.Table, where: str) -> pa.Table:
    """Return a table without structs, dictionaries and extension types.

    Each field of a struct becomes a column `outer.inner`. A field of `payload` or `metadata` becomes a column `inner`,
    unless the table has a column with this name. Bytes that are text become text.

    Args:
        table: the table.
        where: name of the table in errors.

    Raises:
        SpaceError: two columns would have the same name.
    """
    columns = {name: _plain(table[name]) for name in table.column_names}
    while any(pa.types.is_struct(values.type) for values in columns.values()):
        fields = [
            (name, field.removeprefix("x."), _plain(values))
            for name, struct in columns.items()
            if pa.types.is_struct(struct.type)
            for field, values in _fields(struct).items()
        ]
        flat = {name: values for name, values in columns.items() if not pa.types.is_struct(values.type)}
        for name, field, values in sorted(fields, key=lambda one: one[0] in WRAPPERS):  # wrappers come last
            called = field if name in WRAPPERS and field not in flat else f"{name}.{field}"
            if called in flat:
                raise SpaceError(f"{where} has two columns called {called!r}; rename one of them in the file")
            flat[called] = values
        columns = flat
    return pa.table(columns)


def _fields(struct: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    table = pa.table({"x": struct}).flatten()
    return {name: table.column(place) for place, name in enumerate(table.column_names)}


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(values.type, pa.FixedShapeTensorType):  # `vector_cells` reads its shape
        return values
    values = plain(values)
    return _as_text(values) if is_bytes(values.type) else values


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return bytes as text if all of them are text, else unchanged, because vectors may be stored as bytes."""
    try:
        texts = values.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return values
    control = pc.match_substring_regex(texts, r"[\x00-\x08\x0e-\x1f\x7f]")
    return values if pc.any(control).as_py() or not pc.any(pc.is_valid(texts)).as_py() else texts
