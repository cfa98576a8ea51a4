"""Vectors from files, joined with ids and metadata into a space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.checks import bad_rows, repeated
from vectalk.space.neighbors import Metric
from vectalk.space.tables import Columns, as_text, column, id_column, is_list, read_table
from vectalk.space.vector_files import choose, open_vectors
from vectalk.space.vector_space import VectorSpace

SOURCES = (".npy", ".npz", ".parquet", ".safetensors")
Missing = Literal["error", "drop", "keep"]


def read_vectors(path: str | Path, key: str | None = None) -> tuple[np.ndarray, pa.Table | None]:
    """Read vectors from .npy, .npz, .parquet or .safetensors.

    Args:
        path: the file.
        key: which array of an npz, tensor of a safetensors file or column of a parquet file, where there are
            several.

    Returns:
        Vectors [N, D], and the other columns of a parquet file (else None).

    Raises:
        SpaceError: the file is missing, broken, of another kind, or holds no such vectors.
    """
    path = Path(path)
    if not path.is_file():
        raise SpaceError(f"{path} does not exist" if not path.exists() else f"{path} is a folder; name a file in it")
    table = None
    try:
        if path.suffix in (".npy", ".safetensors"):
            vectors = open_vectors(path, key)
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                vectors = arrays[choose(list(arrays.files), key, path, "array")]
        elif path.suffix == ".parquet":
            vectors, table = _from_columns(read_table(path), key, path)
        else:
            raise SpaceError(f"{path}: unknown kind of vectors {path.suffix!r}; allowed are {', '.join(SOURCES)}")
    except SpaceError:
        raise
    except Exception as error:  # each format breaks in its own way
        raise SpaceError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if vectors.ndim != 2 or 0 in vectors.shape or not np.issubdtype(vectors.dtype, np.number):
        raise SpaceError(
            f"{path}: vectors must be a table of numbers [N, D], not {vectors.dtype} of shape {vectors.shape}"
        )
    return vectors, table


def import_space(
    source: str | Path,
    *,
    name: str,
    key: str | None = None,
    ids: str | Path | None = None,
    metadata: str | Path | None = None,
    id_name: str | None = None,
    columns: Columns | None = None,
    missing: Missing = "error",
    drop_bad_rows: bool = False,
    metric: Metric = "cosine",
    split_by: str | None = None,
    licence: str = "",
    dtype: Literal["float32", "float16"] = "float32",
    tell: Callable[[str], None] = lambda message: None,
) -> VectorSpace:
    """Make a space from a file of vectors.

    Args:
        source: vectors [N, D], see `read_vectors`.
        name: of the space, e.g. `film`.
        key: array, tensor or column of `source`.
        ids: file with the id of each vector, row by row: a csv or parquet with one column or one called
            `id_name`, or a txt with an id a line. Without it a parquet's own column is taken, then the rows
            of `metadata`, then row numbers.
        metadata: table joined by id.
        id_name: the column that holds ids, where it cannot be guessed.
        columns: how the metadata columns are prepared.
        missing: vectors without metadata: `error`, `drop` them, or `keep` them with nulls.
        drop_bad_rows: leave out vectors with NaN, infinity or nothing but zeros.
        metric: what "near" means.
        split_by: column whose hash decides the split (`title` where there is one, else `id`).
        licence: a note that travels with the space.
        dtype: how vectors are stored.
        tell: called with what was left out.

    Raises:
        SpaceError: files and options do not fit each other; the message says how to mend it.
    """
    columns = columns or Columns()
    if missing not in ("error", "drop", "keep"):
        raise SpaceError(f"missing must be error, drop or keep, not {missing!r}")
    if dtype not in ("float32", "float16"):
        raise SpaceError(f"dtype must be float32 or float16, not {dtype!r}")
    vectors, own = read_vectors(source, key)
    facts = None if metadata is None else with_id(read_table(metadata, _text(id_name)), id_name, str(metadata))
    if ids is not None:
        own = _read_ids(Path(ids), id_name)
    elif own is not None and own.num_columns:
        own = with_id(own, id_name, str(source))
    elif facts is not None:
        tell(f"no ids beside the vectors: row i of {metadata} is taken for vector i (give --ids to join by id)")
        own = facts.select(["id"])
    else:
        own = pa.table({"id": pa.array([str(row) for row in range(len(vectors))])})
    if own.num_rows != len(vectors):
        raise SpaceError(
            f"{source} has {len(vectors)} vectors, {ids or metadata} has {own.num_rows} ids: "
            "row i of one must belong to row i of the other"
        )
    _unique(own["id"], str(ids or source))
    kept = np.arange(len(vectors))
    if drop_bad_rows:
        kept = np.setdiff1d(kept, np.concatenate(bad_rows(vectors)))
        if len(kept) < len(vectors):
            tell(f"{len(vectors) - len(kept)} of {len(vectors)} vectors dropped: NaN, infinity or only zeros")
        if not len(kept):
            raise SpaceError(f"{source}: no vector is left after dropping the bad rows")
    table = own.take(kept)
    if facts is not None:
        table, found = _join(table, facts, str(metadata), missing)
        if len(found) < len(kept):
            tell(f"{len(kept) - len(found)} of {len(kept)} vectors have no metadata: dropped")
        kept = kept[found]
    table = columns.apply(table, str(metadata or source))
    if split_by is None:
        split_by = "title" if "title" in table.column_names else "id"
    chosen = vectors if len(kept) == len(vectors) else vectors[kept]
    if chosen.dtype != dtype:
        with np.errstate(over="ignore"):  # what does not fit becomes infinity, which `create` reports
            chosen = chosen.astype(dtype)
    return VectorSpace.create(name, chosen, table, metric=metric, split_by=split_by, licence=licence)


def _text(id_name: str | None) -> tuple[str, ...]:
    return ("id", "title") if id_name is None else ("id", "title", id_name)


def _from_columns(table: pa.Table, key: str | None, path: Path) -> tuple[np.ndarray, pa.Table]:
    if key is not None:
        column(table, key, str(path))
    lists = [
        name
        for name in table.column_names
        if is_list(table[name].type) and pa.types.is_floating(table[name].type.value_type)
    ]
    chosen = key or choose(lists, None, path, "column of float list")
    values = table[chosen].combine_chunks()
    if not is_list(values.type):
        raise SpaceError(f"{path}: column {chosen!r} holds {values.type}, not lists of numbers")
    if values.null_count:
        raise SpaceError(f"{path}: row {int(np.flatnonzero(values.is_null())[0])} of column {chosen!r} has no vector")
    lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
    if len(lengths) and (lengths != lengths[0]).any():
        row = int(np.flatnonzero(lengths != lengths[0])[0])
        raise SpaceError(f"{path}: row {row} of column {chosen!r} has {lengths[row]} numbers, row 0 has {lengths[0]}")
    flat = values.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(values), -1), table.drop_columns([chosen])


def _read_ids(path: Path, id_name: str | None) -> pa.Table:
    if path.suffix == ".txt":
        if not path.is_file():
            raise SpaceError(f"{path} does not exist")
        return pa.table({"id": pa.array(path.read_text(encoding="utf-8").splitlines())})
    table = read_table(path, _text(id_name))
    if table.num_columns == 1:
        return table.rename_columns(["id"]).set_column(0, "id", as_text(table[0]))
    return with_id(table, id_name, str(path))


def with_id(table: pa.Table, id_name: str | None, where: str) -> pa.Table:
    """Return the table with its id column as text, called `id`, in front."""
    source = id_column(table, id_name, where, "--id-column")
    rest = table.drop_columns([source])
    column_names = [name for name in rest.column_names if name != "id"]
    return rest.select(column_names).add_column(0, "id", as_text(table[source]))


def _unique(ids: pa.ChunkedArray, where: str) -> None:
    again = repeated(ids)
    if again:
        raise SpaceError(f"{where}: ids must be unique; these stand more than once: {', '.join(map(repr, again[:3]))}")


def _join(own: pa.Table, facts: pa.Table, where: str, missing: Missing) -> tuple[pa.Table, np.ndarray]:
    """Return own columns with those of `facts`, and the rows of `own` that were kept."""
    clash = sorted((set(own.column_names) & set(facts.column_names)) - {"id"})
    if clash:
        raise SpaceError(f"{where}: columns {', '.join(clash)} stand beside the vectors too; rename or remove them")
    _unique(facts["id"], where)
    at = pc.index_in(own["id"], facts["id"].combine_chunks()).combine_chunks()
    lost = np.flatnonzero(at.is_null().to_numpy(zero_copy_only=False))
    if len(lost) == len(at):
        theirs = ", ".join(map(repr, facts["id"].slice(0, 3).to_pylist()))
        ours = ", ".join(map(repr, own["id"].slice(0, 3).to_pylist()))
        raise SpaceError(
            f"{where}: none of the {len(at)} ids has metadata: the vectors' are {ours}, ..., "
            f"the metadata's {theirs}, ...; "
            f"name the right column with --id-column (columns are {', '.join(facts.column_names)})"
        )
    if len(lost) and missing == "error":
        first = ", ".join(repr(own["id"][int(row)].as_py()) for row in lost[:5])
        raise SpaceError(
            f"{where}: {len(lost)} of {len(at)} vectors have no metadata "
            f"(ids {first}{', ...' if len(lost) > 5 else ''}); "
            "leave them out with --missing drop, or keep them with --missing keep"
        )
    kept = np.setdiff1d(np.arange(len(at)), lost) if missing == "drop" else np.arange(len(at))
    own, at = own.take(kept), at.take(pa.array(kept))
    for name in facts.column_names:
        if name != "id":
            own = own.append_column(name, facts[name].combine_chunks().take(at))
    return own, kept
