"""Structs and other wrappings of a table's columns, undone: a column for each field, and values as they are."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from vectalk.space.importing.canonical import is_bytes, plain
from vectalk.space.importing.json_shapes import WRAPPERS


def flattened(table: pa.Table) -> pa.Table:
    """Return a table whose columns are no structs, dictionaries or extension types.

    A struct becomes a column for each field, called `outer.inner`; the fields of a `payload` or `metadata` are called
    `inner`, unless the table has such a column. Bytes that are text become text.
    """
    columns = {name: _plain(table[name]) for name in table.column_names}
    while any(pa.types.is_struct(values.type) for values in columns.values()):
        flat_columns: dict[str, pa.ChunkedArray] = {}
        inner: dict[str, tuple[str, pa.ChunkedArray]] = {}
        for name, values in columns.items():
            if not pa.types.is_struct(values.type):
                flat_columns[name] = values
                continue
            fields = pa.table({"x": values}).flatten()
            for field in fields.column_names:
                short = field.removeprefix("x.")
                place = (short, _plain(fields[field]))
                if name in WRAPPERS:
                    inner[f"{name}.{short}"] = place
                else:
                    flat_columns[f"{name}.{short}"] = place[1]
        for long, (short, values) in inner.items():
            flat_columns[long if short in flat_columns or short in columns else short] = values
        columns = flat_columns
    return pa.table(columns)


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
