"""Ids: reading them, checking that they are unique, and joining two tables by id."""

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
from vectalk.space.importing.spelling import spelling_hint
from vectalk.space.importing.table_files import kind_of
from vectalk.space.importing.tables import Layout, column_list, id_column, read_table
from vectalk.space.importing.text_files import Tell, encoding_of, reason_of, text_of

Missing = Literal["error", "drop", "keep"]


def text_columns(id_name: str | None, renamed: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return the columns of a csv that are always read as text: ids and titles, by their names before renaming."""
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
        raise SpaceError(
            f"{where}: column {source!r} does not contain ids: {error}; name another column with --id-column"
        ) from None
    return rest.select(column_names).add_column(0, "id", ids)


def identified(table: pa.Table, id_name: str | None, where: str) -> pa.Table:
    """Return the table as `with_id` does; if it has no column `id_name`, guess its id column."""
    return with_id(table, id_name if id_name in table.column_names else None, where)


def read_ids(
    path: Path, id_name: str | None = None, layout: Layout | None = None, tell: Tell = lambda message: None
) -> pa.Table:
    """Read the id of each row from a txt file (one id per line), an array, a json list, or a table.

    A json object may map ids to rows, or rows to ids.

    Args:
        path: the file, or a folder of parts of a table.
        id_name: a column of the table that is always read as text.
        layout: separator, encoding and names of a text table, if known.
        tell: called with what was guessed.

    Returns:
        The table; for a plain list, a table with the column `id`.

    Raises:
        SpaceError: there is no such file, or it is broken.
    """
    if not path.exists():
        raise SpaceError(f"{path} does not exist")
    try:
        listed = None if path.is_dir() else _listed(path, tell)
    except SpaceError:
        raise
    except Exception as error:  # the libraries raise many kinds of errors
        raise SpaceError(f"{path} cannot be read: {reason_of(error)}") from None
    if listed is not None:
        return pa.table({"id": listed})
    table = read_table(path, text_columns(id_name), layout, tell)
    others = [name for name in table.column_names if name != "index"]
    return table.select(others) if len(others) == 1 else table  # a pandas series has an index too


def _listed(path: Path, tell: Tell) -> pa.ChunkedArray | None:
    """Return the ids of a file that is a plain list of ids, or None if it is a table."""
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
    """Return ids in the order of their rows, from {id: row} or {row: id}; None if `values` is neither."""
    numbers = [str(number) for number in range(len(values))]
    by_row = sorted(values) == sorted(numbers)
    rows = [row for row in values.values() if isinstance(row, int) and not isinstance(row, bool)]
    by_id = len(rows) == len(values) and sorted(rows) == list(range(len(values)))
    if by_row and by_id and values != {number: int(number) for number in numbers}:
        raise SpaceError(f"{path} can be read as {{id: row}} or as {{row: id}}; save a list of ids, one for each row")
    if by_row and not any(isinstance(value, dict | list) for value in values.values()):
        return [values[number] for number in numbers]
    return sorted(values, key=values.__getitem__) if by_id else None


def _json_ids(values: list[Any], path: Path) -> pa.ChunkedArray:
    """Return the ids of a json list as text; 7, "7" and 7.0 are the same id."""
    wrong = next((row for row, value in enumerate(values) if isinstance(value, list | bool)), None)
    if wrong is not None:
        raise SpaceError(
            f"{path}: row {wrong} holds {json.dumps(values[wrong])[:40]}, which is not an id; ids are text or numbers"
        )
    texts = [str(value) if isinstance(value, int) else value for value in values]
    if any(isinstance(value, float) for value in texts):
        numbers = id_text(
            pa.chunked_array([pa.array([v if isinstance(v, float) else None for v in texts])])
        ).to_pylist()
        texts = [n if isinstance(v, float) else v for n, v in zip(numbers, texts, strict=True)]
    return id_text(pa.chunked_array([pa.array(texts, pa.string())]))


def check_count(vectors: int, source: str, ids: int, where: str, *, from_metadata: bool) -> None:
    """Raise a SpaceError with a likely cause if the numbers of ids and vectors differ."""
    if ids == vectors:
        return
    hint = "row i of one must belong to row i of the other"
    if from_metadata:
        hint = "give the id of each vector, in the same order, with --ids FILE; the metadata are then joined by id"
    elif ids == vectors - 1 and where.lower().removesuffix(".gz").endswith(("csv", "tsv")):
        hint = (
            "the first line of a csv has the names of the columns; if it is an id in this file, save the file as .txt"
        )
    elif ids == vectors + 1 and where.lower().removesuffix(".gz").endswith("txt"):
        hint = "each line of a .txt is an id; if the first line is the name of a column, save the file as .csv"
    raise SpaceError(f"{source} has {vectors} vectors, {where} has {ids} ids: {hint}")


def check_unique(ids: pa.ChunkedArray, where: str) -> None:
    """Raise a SpaceError if an id is missing or occurs more than once."""
    if ids.null_count:
        row = int(np.flatnonzero(np.asarray(pc.is_null(ids)))[0])
        raise SpaceError(f"{where}: row {row} has no id ({ids.null_count} such rows); add the id or remove the row")
    again = repeated(ids)
    if again:
        raise SpaceError(
            f"{where}: ids must be unique; these occur more than once: {', '.join(map(repr, again[:3]))}; keep one row "
            "for each, or name the ids with --id-column or --ids"
        )


def join(
    own: pa.Table, facts: pa.Table, where: str, missing: Missing, tell: Tell = lambda message: None
) -> tuple[pa.Table, np.ndarray]:
    """Join the metadata to the table of the vectors, by id.

    Args:
        own: one row per vector, with `id`.
        facts: the metadata, with `id`.
        where: name of the metadata in errors.
        missing: what to do with vectors without metadata.
        tell: called with the number of vectors without metadata.

    Returns:
        The columns of both, and the rows of `own` that are in the result.

    Raises:
        SpaceError: ids repeat, columns clash, or vectors have no metadata.
    """
    clash = sorted((set(own.column_names) & set(facts.column_names)) - {"id"})
    if clash:
        raise SpaceError(
            f"{where}: the file of the vectors has columns {', '.join(clash)} too; "
            f"rename those of the metadata, e.g. with --rename {clash[0]}=other_{clash[0]}"
        )
    check_unique(facts["id"], where)
    at = pc.index_in(own["id"], facts["id"].combine_chunks()).combine_chunks()
    missing_rows = np.flatnonzero(at.is_null().to_numpy(zero_copy_only=False))
    unmatched = own["id"].take(pa.array(missing_rows)).combine_chunks()
    hint = spelling_hint(unmatched, facts["id"].combine_chunks()) if len(missing_rows) else ""
    if len(missing_rows) == len(at):
        advice = f"name the right column with --id-column (columns are {column_list(facts.column_names)})"
        raise SpaceError(
            f"{where}: none of the {len(at)} ids has metadata: the vectors have ids {_some(own['id'], 3)}, "
            f"the metadata have ids {_some(facts['id'], 3)}{hint or '; ' + advice}"
        )
    if len(missing_rows) and missing == "error":
        raise SpaceError(
            f"{where}: {len(missing_rows)} of {len(at)} vectors have no metadata "
            f"(ids {_some(unmatched, 5)}){hint}; "
            "leave them out with --missing drop, or keep them with --missing keep"
        )
    if len(missing_rows):
        how = "dropped" if missing == "drop" else "kept without"
        tell(f"{len(missing_rows)} of {len(at)} vectors have no metadata: {how}{hint}")
    rows = np.setdiff1d(np.arange(len(at)), missing_rows) if missing == "drop" else np.arange(len(at))
    own, at = own.take(rows), at.take(pa.array(rows))
    for name in facts.column_names:
        if name != "id":
            own = own.append_column(name, facts[name].combine_chunks().take(at))
    return own, rows


def _some(ids: Sequence[pa.Scalar] | pa.ChunkedArray, count: int) -> str:
    examples = ", ".join(repr(ids[i].as_py()) for i in range(min(count, len(ids))))
    return examples + (", ..." if len(ids) > count else "")
