"""A preview of an import, before anything is written."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from vectalk.space.importing.canonical import is_list, is_text
from vectalk.space.importing.readers import Import

ROWS = 5


def preview(imported: Import, rows: int = ROWS) -> dict[str, Any]:
    """Return the first rows of an import, and a description of each column.

    Args:
        imported: the import.
        rows: number of rows to return.

    Returns:
        `entities`, `dim`, the sources of `ids`, `titles` and `vectors`, `columns` (name -> `kind`, `known`: how many
        entities have a value, `example`), and `rows`: each with `id`, `title`, `vector` (its length), and the first
        `values` of it.
    """
    table = imported.entities
    titles = table["title"] if "title" in table.column_names else None
    count = min(rows, table.num_rows)
    return {
        "entities": table.num_rows,
        "dim": imported.vectors.shape[1],
        "ids": imported.ids,
        "titles": imported.titles,
        "vectors": imported.named,
        "columns": {name: _column(table[name]) for name in table.column_names},
        "rows": [
            {
                "id": table["id"][row].as_py(),
                "title": None if titles is None else titles[row].as_py(),
                "vector": imported.vectors.shape[1],
                "values": [round(float(value), 4) for value in imported.vectors[row][:4]],
            }
            for row in range(count)
        ],
    }


def kind_of_column(kind: pa.DataType) -> str:
    """Return the content of a column, in words."""
    if is_list(kind):
        return f"lists of {kind_of_column(kind.value_type)}"
    if pa.types.is_integer(kind):
        return "whole numbers"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    if pa.types.is_boolean(kind):
        return "true or false"
    if pa.types.is_null(kind):
        return "nothing"
    if pa.types.is_temporal(kind):
        return "dates or times"
    return "text" if is_text(kind) else str(kind)


def _column(values: pa.ChunkedArray) -> dict[str, Any]:
    known = len(values) - values.null_count
    example = next((value.as_py() for value in values if value.is_valid and value.as_py() not in ("", [])), None)
    if not isinstance(example, str | int | float | bool | list | None):
        example = str(example)
    return {"kind": kind_of_column(values.type), "known": known, "example": example}
