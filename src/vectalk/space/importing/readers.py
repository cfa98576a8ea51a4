"""Vectors from files, joined with ids and metadata into a space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from vectalk.errors import SpaceError
from vectalk.space.checks import bad_rows
from vectalk.space.importing.ids import Missing, check_count, check_unique, identified, join, read_ids, text_columns
from vectalk.space.importing.ids import with_id as with_id
from vectalk.space.importing.table_files import KINDS, kind_of
from vectalk.space.importing.tables import Columns, read_table
from vectalk.space.importing.vector_columns import vectors_of
from vectalk.space.importing.vector_files import choose, open_vectors
from vectalk.space.neighbors import Metric
from vectalk.space.split import SPLITS
from vectalk.space.vector_space import VectorSpace

ARRAYS = ("npy", "npz", "safetensors")
TORCH = ("pt", "pth", "bin", "pkl", "pickle")
Tell = Callable[[str], None]
FEWEST = 10  # validation or test entities below which nothing can be told from them


def read_vectors(path: str | Path, key: str | None = None) -> tuple[np.ndarray, pa.Table | None]:
    """Read vectors from .npy, .npz, .safetensors, or from a table: parquet (also a folder of it), csv, jsonl, ...

    Args:
        path: the file.
        key: which array of an npz, tensor of a safetensors file or column of a table, where there are several; a
            pattern such as `dim_*` names columns of a table that hold one dimension each.

    Returns:
        Vectors [N, D], and the other columns of the table, or what else an npz says of each row (else None).

    Raises:
        SpaceError: the file is missing, broken, of another kind, or holds no such vectors.
    """
    path = Path(path)
    if (path / "space.json").is_file():
        raise SpaceError(f"{path} is a space already; use it as it is, or name its file of vectors")
    if not path.exists():
        raise SpaceError(f"{path} does not exist")
    kind = "parquet" if path.is_dir() else kind_of(path)
    table = None
    try:
        if kind in ("npy", "safetensors"):
            vectors = open_vectors(path, key)
        elif kind == "npz":
            vectors, table = _from_arrays(path, key)
        elif kind in (*KINDS, "ndjson"):
            vectors, table = vectors_of(read_table(path), key, path)
        else:
            how = "; save a tensor as .npy: numpy.save('vectors.npy', tensor.detach().cpu().float().numpy())"
            raise SpaceError(
                f"{path}: unknown kind of vectors {path.suffix!r}; allowed are "
                f"{', '.join('.' + name for name in (*ARRAYS, *KINDS))}{how if kind in TORCH else ''}"
            )
    except SpaceError:
        raise
    except Exception as error:  # each format breaks in its own way
        advice = "; save it as plain numbers: numpy.stack(rows)" if "allow_pickle" in str(error) else ""
        raise SpaceError(f"{path} cannot be read: {' '.join(str(error).split())}{advice}") from None
    if vectors.ndim != 2 or 0 in vectors.shape or vectors.dtype.kind not in "iuf":
        raise SpaceError(
            f"{path}: vectors must be a table of numbers [N, D], not {vectors.dtype} of shape {vectors.shape}"
        )
    return vectors, table


def _from_arrays(path: Path, key: str | None) -> tuple[np.ndarray, pa.Table | None]:
    """Read the vectors of an npz, and its arrays of one entry a row (`ids`, `titles`) as columns."""
    with np.load(path) as arrays:
        known = {name: arrays[name] for name in arrays.files if name == key or _is_plain(arrays, name)}
        tables = [name for name, array in known.items() if array.ndim == 2]
        vectors = known[choose(tables if key is None and tables else list(arrays.files), key, path, "array")]
    columns = {name: a for name, a in known.items() if a.shape == vectors.shape[:1] and a.dtype.kind in "iufUb"}
    return vectors, pa.table({name.removesuffix("s"): array for name, array in columns.items()}) if columns else None


def _is_plain(arrays: np.lib.npyio.NpzFile, name: str) -> bool:
    try:
        return arrays[name].dtype.kind != "O"
    except ValueError:  # a pickle is never opened
        return False


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
    tell: Tell = lambda message: None,
) -> VectorSpace:
    """Make a space from a file of vectors.

    Args:
        source: vectors [N, D], see `read_vectors`.
        name: of the space, e.g. `film`.
        key: array, tensor or column of `source`.
        ids: file with the id of each vector, row by row, see `read_ids`. Without it a column of `source` is taken, then
            the rows of `metadata`, then row numbers.
        metadata: table joined by id.
        id_name: the column that holds ids, where it cannot be guessed; a table that has none of that name is guessed.
        columns: how the metadata columns are prepared.
        missing: vectors without metadata: `error`, `drop` them, or `keep` them with nulls.
        drop_bad_rows: leave out vectors with NaN, infinity or nothing but zeros.
        metric: what "near" means.
        split_by: column whose hash decides the split (`title` where there is one, else `id`).
        licence: a note that travels with the space.
        dtype: how vectors are stored.
        tell: called with what was left out, taken for granted, or looks like a mistake.

    Raises:
        SpaceError: files and options do not fit each other; the message says how to mend it.
    """
    columns = columns or Columns()
    if missing not in ("error", "drop", "keep"):
        raise SpaceError(f"missing must be error, drop or keep, not {missing!r}")
    if dtype not in ("float32", "float16"):
        raise SpaceError(f"dtype must be float32 or float16, not {dtype!r}")
    vectors, own = read_vectors(source, key)
    if vectors.shape[1] > vectors.shape[0]:
        tell(
            f"note: {source} holds {vectors.shape[0]} vectors of {vectors.shape[1]} dimensions; if it should be the "
            "other way round, save it transposed"
        )
    own, facts = _named(source, len(vectors), own, ids, metadata, id_name, tell)
    kept = np.arange(len(vectors))
    if drop_bad_rows:
        kept = np.setdiff1d(kept, np.concatenate(bad_rows(vectors)))
        if len(kept) < len(vectors):
            tell(f"{len(vectors) - len(kept)} of {len(vectors)} vectors dropped: NaN, infinity or only zeros")
        if not len(kept):
            raise SpaceError(f"{source}: no vector is left after dropping the bad rows")
    table = own.take(kept)
    if facts is not None:
        columns, facts = columns.renamed(facts)  # first, since a name may stand beside the vectors too
        table, found = join(table, facts, str(metadata), missing)
        if len(found) < len(kept):
            tell(f"{len(kept) - len(found)} of {len(kept)} vectors have no metadata: dropped")
        kept = kept[found]
    table = columns.apply(table, str(metadata or source), tell)
    if split_by is None:
        split_by = "title" if "title" in table.column_names else "id"
    chosen = vectors if len(kept) == len(vectors) else vectors[kept]
    if chosen.dtype != dtype:
        with np.errstate(over="ignore"):  # what does not fit becomes infinity, which `create` reports
            chosen = chosen.astype(dtype)
    space = VectorSpace.create(name, chosen, table, metric=metric, split_by=split_by, licence=licence)
    few = [f"{len(space.rows(part))} {part}" for part in SPLITS if len(space.rows(part)) < FEWEST]
    if few:
        tell(f"note: {' and '.join(few)} entities (split by {space.split_by}): too few to train and to measure with")
    return space


def _named(
    source: str | Path,
    rows: int,
    own: pa.Table | None,
    ids: str | Path | None,
    metadata: str | Path | None,
    id_name: str | None,
    tell: Tell,
) -> tuple[pa.Table, pa.Table | None]:
    """Return what is known of each vector, and the metadata, both with a column `id`."""
    own = own if own is not None and own.num_columns else None
    listed = None if ids is None else read_ids(Path(ids), id_name)
    facts = None if metadata is None else read_table(metadata, text_columns(id_name))
    read = {str(where): t for where, t in ((source, own), (ids, listed), (metadata, facts)) if t is not None}
    if id_name is not None and not any(id_name in table.column_names for table in read.values()):
        there = "; ".join(f"{where} has {', '.join(table.column_names)}" for where, table in read.items())
        raise SpaceError(f"no column {id_name!r} to take ids from; {there or f'{source} has no columns'}")
    facts = None if facts is None else identified(facts, id_name, str(metadata))
    if listed is not None:
        check_count(rows, str(source), listed.num_rows, str(ids), from_metadata=False)
        found, where = identified(listed, id_name, str(ids)), str(ids)
        for name in own.column_names if own is not None else ():
            if name not in found.column_names:
                found = found.append_column(name, own[name])  # type: ignore[index]
    elif own is not None:
        found, where = identified(own, id_name, str(source)), str(source)
    elif facts is not None:
        check_count(rows, str(source), facts.num_rows, str(metadata), from_metadata=True)
        tell(f"no ids beside the vectors: row i of {metadata} is taken for vector i (give --ids to join by id)")
        found, where = facts.select(["id"]), str(metadata)
    else:
        tell(f"no ids: the vectors are called 0 to {rows - 1} (name them with --ids or --metadata)")
        found, where = pa.table({"id": pa.array([str(row) for row in range(rows)])}), str(source)
    check_unique(found["id"], where)
    return found, facts
