"""Ids: where they stand, that each stands once, and how two tables meet by them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.checks import repeated
from vectalk.space.importing.table_files import kind_of
from vectalk.space.importing.tables import as_text, id_column, read_table

Missing = Literal["error", "drop", "keep"]


def text_columns(id_name: str | None) -> tuple[str, ...]:
    """Return the columns of a csv that are text whatever they look like."""
    return ("id", "title") if id_name is None else ("id", "title", id_name)


def with_id(table: pa.Table, id_name: str | None, where: str) -> pa.Table:
    """Return the table with its id column as text, called `id`, in front."""
    source = id_column(table, id_name, where, "--id-column")
    rest = table.drop_columns([source])
    column_names = [name for name in rest.column_names if name != "id"]
    return rest.select(column_names).add_column(0, "id", as_text(table[source]))


def identified(table: pa.Table, id_name: str | None, where: str) -> pa.Table:
    """Return the table as `with_id` does; one that has no column `id_name` is guessed, since tables differ in names."""
    return with_id(table, id_name if id_name in table.column_names else None, where)


def read_ids(path: Path, id_name: str | None = None) -> pa.Table:
    """Read the id of each row from a txt with an id a line, an array, a json list, or a table.

    Args:
        path: the file.
        id_name: a column of the table that is text whatever it looks like.

    Returns:
        The table; of a bare list, one with the column `id`.

    Raises:
        SpaceError: there is no such file, or it is broken.
    """
    if not path.is_file():
        raise SpaceError(f"{path} does not exist" if not path.exists() else f"{path} is a folder; name a file in it")
    try:
        listed = _listed(path)
    except (ValueError, OSError) as error:
        if isinstance(error, SpaceError):
            raise
        raise SpaceError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if listed is not None:
        return pa.table({"id": listed})
    table = read_table(path, text_columns(id_name))
    others = [name for name in table.column_names if name != "index"]
    return table.select(others) if len(others) == 1 else table  # a pandas series has an index beside it


def _listed(path: Path) -> pa.Array | None:
    """Return the ids of a file that is a bare list of them, or None where it is a table."""
    if path.suffix.lower() == ".txt":
        lines = path.read_text(encoding="utf-8").rstrip().split("\n")
        return pa.array([line.rstrip("\r") for line in lines])
    if path.suffix.lower() == ".json":
        values = json.loads(path.read_text(encoding="utf-8"))
        return None if isinstance(values, list) and isinstance(values[0], dict) else pa.array(list(map(str, values)))
    if path.suffix.lower() == ".npy":
        values = np.load(path)
        if values.ndim != 1:
            raise SpaceError(f"{path}: ids must be a list [N], not {values.dtype} of shape {values.shape}")
        return as_text(pa.chunked_array([pa.array(values)])).combine_chunks()
    return None


def check_count(vectors: int, source: str, ids: int, where: str, *, from_metadata: bool) -> None:
    """Raise a SpaceError that says what may be wrong where there are not as many ids as vectors."""
    if ids == vectors:
        return
    hint = "row i of one must belong to row i of the other"
    if from_metadata:
        hint = "name the id of each vector, row by row, with --ids FILE, and the metadata are joined by id"
    elif ids == vectors - 1 and kind_of(Path(where)) in ("csv", "tsv"):
        hint = "the first line of a csv holds the names of its columns; is it an id here? Save it as .txt"
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
            "for each, or name another column with --id-column"
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
            f"name the right column with --id-column (columns are {', '.join(facts.column_names)})"
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
