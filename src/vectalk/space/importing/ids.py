"""Ids: where they stand, that each stands once, and how two tables meet by them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.checks import repeated
from vectalk.space.importing.arrays import column_of, open_npy
from vectalk.space.importing.canonical import id_text
from vectalk.space.importing.table_files import kind_of
from vectalk.space.importing.tables import Layout, column_list, id_column, read_table
from vectalk.space.importing.text_files import Tell, encoding_of, reason_of, text_of

Missing = Literal["error", "drop", "keep"]


def text_columns(id_name: str | None, renamed: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the columns of a csv that are text whatever they look like: ids and titles, by their old names."""
    named = [old for old, new in (renamed or {}).items() if new in ("id", "title")]
    return ("id", "title", *named, *([] if id_name is None else [id_name]))


def with_id(table: pa.Table, id_name: str | None, where: str) -> pa.Table:
    """Return the table with its id column as text, called `id`, in front."""
    source = id_column(table, id_name, where, "--id-column")
    rest = table.drop_columns([source])
    column_names = [name for name in rest.column_names if name != "id"]
    try:
        ids = id_text(table[source])
    except SpaceError as error:
        raise SpaceError(f"{where}: column {source!r} holds no ids: {error}") from None
    return rest.select(column_names).add_column(0, "id", ids)


def identified(table: pa.Table, id_name: str | None, where: str) -> pa.Table:
    """Return the table as `with_id` does; one that has no column `id_name` is guessed, since tables differ in names."""
    return with_id(table, id_name if id_name in table.column_names else None, where)


def read_ids(
    path: Path, id_name: str | None = None, layout: Layout | None = None, tell: Tell = lambda message: None
) -> pa.Table:
    """Read the id of each row from a txt with an id a line, an array, a json list, or a table.

    A json object may say the row of each id, or the id of each row.

    Args:
        path: the file, or a folder of parts of a table.
        id_name: a column of the table that is text whatever it looks like.
        layout: what is known of a table of text.
        tell: hears what was guessed.

    Returns:
        The table; of a bare list, one with the column `id`.

    Raises:
        SpaceError: there is no such file, or it is broken.
    """
    if not path.exists():
        raise SpaceError(f"{path} does not exist")
    try:
        listed = None if path.is_dir() else _listed(path, tell)
    except SpaceError:
        raise
    except Exception as error:  # each format breaks in its own way
        raise SpaceError(f"{path} cannot be read: {reason_of(error)}") from None
    if listed is not None:
        return pa.table({"id": listed})
    table = read_table(path, text_columns(id_name), layout, tell)
    others = [name for name in table.column_names if name != "index"]
    return table.select(others) if len(others) == 1 else table  # a pandas series has an index beside it


def _listed(path: Path, tell: Tell) -> pa.ChunkedArray | None:
    """Return the ids of a file that is a bare list of them, or None where it is a table."""
    kind = kind_of(path)
    if kind == "txt":
        lines = re.split("\r\n|\n|\r", text_of(path, encoding_of(path, None, tell)))
        while lines and not lines[-1].strip():
            lines.pop()
        return id_text(pa.chunked_array([pa.array(lines, pa.string())]))
    if kind == "json":
        values = json.loads(text_of(path, "utf-8-sig"))
        if isinstance(values, dict):
            values = _mapped(values, path)
        if not isinstance(values, list) or any(isinstance(value, dict) for value in values):
            return None
        return _json_ids(values, path)
    if kind == "npy":
        values = open_npy(path)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise SpaceError(f"{path}: ids must be a list [N], not {values.dtype} of shape {values.shape}")
        return id_text(column_of(values, str(path)))
    return None


def _mapped(values: dict[str, Any], path: Path) -> list[Any] | None:
    """Return ids in the order of their rows, from {id: row} or {row: id}; None where it is neither."""
    numbers = [str(number) for number in range(len(values))]
    by_row = sorted(values) == sorted(numbers)
    rows = [row for row in values.values() if isinstance(row, int) and not isinstance(row, bool)]
    by_id = len(rows) == len(values) and sorted(rows) == list(range(len(values)))
    if by_row and by_id and values != {number: int(number) for number in numbers}:
        raise SpaceError(f"{path}: does it say the row of each id, or the id of each row? Save a list of ids")
    if by_row and not any(isinstance(value, dict | list) for value in values.values()):
        return [values[number] for number in numbers]
    return sorted(values, key=values.__getitem__) if by_id else None


def _json_ids(values: list[Any], path: Path) -> pa.ChunkedArray:
    """Return the ids of a json list, each by its own kind: 7, "7" and 7.0 are one."""
    wrong = next((row for row, value in enumerate(values) if isinstance(value, list | bool)), None)
    if wrong is not None:
        raise SpaceError(f"{path}: row {wrong} holds {json.dumps(values[wrong])[:40]}, which is no id")
    texts = [str(value) if isinstance(value, int) else value for value in values]
    if any(isinstance(value, float) for value in texts):
        numbers = id_text(
            pa.chunked_array([pa.array([v if isinstance(v, float) else None for v in texts])])
        ).to_pylist()
        texts = [n if isinstance(v, float) else v for n, v in zip(numbers, texts, strict=True)]
    return id_text(pa.chunked_array([pa.array(texts, pa.string())]))


def check_count(vectors: int, source: str, ids: int, where: str, *, from_metadata: bool) -> None:
    """Raise a SpaceError that says what may be wrong where there are not as many ids as vectors."""
    if ids == vectors:
        return
    hint = "row i of one must belong to row i of the other"
    if from_metadata:
        hint = "name the id of each vector, row by row, with --ids FILE, and the metadata are joined by id"
    elif ids == vectors - 1 and where.lower().removesuffix(".gz").endswith(("csv", "tsv")):
        hint = "the first line of a csv holds the names of its columns; is it an id here? Save it as .txt"
    elif ids == vectors + 1 and where.lower().removesuffix(".gz").endswith("txt"):
        hint = "each line of a .txt is an id; is the first one the name of a column here? Save it as .csv"
    raise SpaceError(f"{source} has {vectors} vectors, {where} has {ids} ids: {hint}")


def check_unique(ids: pa.ChunkedArray, where: str) -> None:
    """Raise a SpaceError where an id is missing or stands more than once."""
    if ids.null_count:
        row = int(np.flatnonzero(np.asarray(pc.is_null(ids)))[0])
        raise SpaceError(f"{where}: row {row} has no id ({ids.null_count} such rows); give it one or remove the row")
    again = repeated(ids)
    if again:
        raise SpaceError(
            f"{where}: ids must be unique; these stand more than once: {', '.join(map(repr, again[:3]))}; keep one row "
            "for each, or name the ids with --id-column or --ids"
        )


def join(own: pa.Table, facts: pa.Table, where: str, missing: Missing) -> tuple[pa.Table, np.ndarray]:
    """Join metadata to what is known of the vectors, by id.

    Args:
        own: one row a vector, with `id`.
        facts: the metadata, with `id`.
        where: names the metadata in errors.
        missing: what becomes of vectors without metadata.

    Returns:
        The columns of both, and the rows of `own` that were kept.

    Raises:
        SpaceError: ids repeat, columns clash, or vectors have no metadata.
    """
    clash = sorted((set(own.column_names) & set(facts.column_names)) - {"id"})
    if clash:
        raise SpaceError(
            f"{where}: columns {', '.join(clash)} stand beside the vectors too; "
            f"rename those of the metadata, e.g. with --rename {clash[0]}=other_{clash[0]}"
        )
    check_unique(facts["id"], where)
    at = pc.index_in(own["id"], facts["id"].combine_chunks()).combine_chunks()
    lost = np.flatnonzero(at.is_null().to_numpy(zero_copy_only=False))
    if len(lost) == len(at):
        raise SpaceError(
            f"{where}: none of the {len(at)} ids has metadata: the vectors' are {_some(own['id'], 3)}, "
            f"the metadata's {_some(facts['id'], 3)}; "
            f"name the right column with --id-column (columns are {column_list(facts.column_names)})"
        )
    if len(lost) and missing == "error":
        raise SpaceError(
            f"{where}: {len(lost)} of {len(at)} vectors have no metadata "
            f"(ids {_some(own['id'].take(pa.array(lost)), 5)}); "
            "leave them out with --missing drop, or keep them with --missing keep"
        )
    kept = np.setdiff1d(np.arange(len(at)), lost) if missing == "drop" else np.arange(len(at))
    own, at = own.take(kept), at.take(pa.array(kept))
    for name in facts.column_names:
        if name != "id":
            own = own.append_column(name, facts[name].combine_chunks().take(at))
    return own, kept


def _some(ids: Sequence[pa.Scalar] | pa.ChunkedArray, count: int) -> str:
    shown = ", ".join(repr(ids[i].as_py()) for i in range(min(count, len(ids))))
    return shown + (", ..." if len(ids) > count else "")
