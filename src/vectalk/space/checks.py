"""Checks of vectors and entities, the fingerprint of a space, and the hash of its split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space import split
from vectalk.space.importing.tables import as_text, is_text

# The files that a space has, as patterns: downloaded from the hub, or uploaded with a run.
SPACE_FILES = (
    "space.json",
    "vectors.npy",
    "vectors.safetensors",
    "entities.parquet",
    "support.safetensors",
    "concepts/*/concept.json",
    "concepts/*/direction.safetensors",
)


def fingerprint(
    vectors: np.ndarray, ids: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
) -> str:
    """Return the sha256 over ids and vectors [N, D], read in blocks; `progress` is told rows read and rows in all."""
    digest = hashlib.sha256(f"{vectors.dtype.str}{vectors.shape}".encode())
    digest.update("\n".join(ids).encode())
    for start in range(0, len(vectors), 100_000):
        digest.update(np.ascontiguousarray(vectors[start : start + 100_000]).tobytes())
        progress(min(start + 100_000, len(vectors)), len(vectors))
    return digest.hexdigest()


def split_hash(column: pa.ChunkedArray) -> str:
    """Return the sha256 over the split of each row: the same vectors may have several splits."""
    places = pc.index_in(column, pa.array(split.SPLITS))
    return hashlib.sha256(np.asarray(pc.fill_null(places, -1), np.int8).tobytes()).hexdigest()


def bad_rows(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that hold NaN or infinity, and those that hold nothing but zeros."""
    finite, nonzero = [], []
    for start in range(0, len(vectors), 100_000):
        block = vectors[start : start + 100_000]
        finite.append(np.isfinite(block).all(axis=1))
        nonzero.append((block != 0).any(axis=1))
    return np.flatnonzero(~np.concatenate(finite)), np.flatnonzero(~np.concatenate(nonzero))


def check_vectors(name: str, vectors: np.ndarray) -> np.ndarray:
    """Return vectors as float32 or float16 [N, D], or raise a SpaceError that names the bad rows."""
    vectors = np.asarray(vectors) if not isinstance(vectors, np.ndarray) else vectors
    if vectors.ndim != 2 or 0 in vectors.shape or not np.issubdtype(vectors.dtype, np.number):
        raise SpaceError(
            f"space {name!r}: vectors must be a table of numbers [N, D], not {vectors.dtype} of shape {vectors.shape}"
        )
    if vectors.dtype not in (np.float32, np.float16):
        vectors = vectors.astype(np.float32)
    for rows, problem in zip(bad_rows(vectors), ("hold NaN or infinity", "are all zeros"), strict=True):
        if len(rows):
            examples = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
            raise SpaceError(
                f"space {name!r}: {len(rows)} of {len(vectors)} rows {problem} (rows {examples}); "
                "correct them, or drop them with --drop-bad-rows"
            )
    return vectors


def splits(table: pa.Table, column: str, rule: int) -> np.ndarray:
    """Return the split of each row by a column; one whose value is unknown is split by its id."""
    return split.assign_splits(pc.coalesce(table[column].cast(pa.string()), table["id"]).to_pylist(), column, rule)


def repeated(ids: pa.ChunkedArray) -> list[str]:
    """Return the ids that occur more than once."""
    if pc.count_distinct(ids, mode="all").as_py() == len(ids):  # much cheaper than counting each id
        return []
    counts = pc.value_counts(ids)
    return counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()


def check_entities(name: str, table: pa.Table, rows: int, split_by: str) -> pa.Table:
    """Return the entities with ids as text, or raise a SpaceError that names what is wrong."""
    if "id" not in table.column_names:
        raise SpaceError(f"space {name!r}: the entities have no column 'id'; they have {', '.join(table.column_names)}")
    if table.num_rows != rows:
        raise SpaceError(f"space {name!r}: {rows} vectors but {table.num_rows} entities; row i must belong to vector i")
    ids = as_text(table["id"])
    if ids.null_count:
        raise SpaceError(f"space {name!r}: row {int(np.flatnonzero(ids.is_null())[0])} has no id")
    duplicates = repeated(ids)
    if duplicates:
        examples = ", ".join(map(repr, duplicates[:5]))
        raise SpaceError(f"space {name!r}: {len(duplicates)} ids occur more than once ({examples}); ids must be unique")
    table = table.set_column(table.column_names.index("id"), "id", ids)
    for column in {"title", "split"} & set(table.column_names):
        if not is_text(table[column].type):
            table = table.set_column(table.column_names.index(column), column, _texts(name, column, table[column]))
    if "split" in table.column_names:
        unknown = set(table["split"].to_pylist()) - set(split.SPLITS)
        if unknown:
            raise SpaceError(
                f"space {name!r}: column 'split' holds {sorted(map(str, unknown))}; "
                f"allowed are {', '.join(split.SPLITS)}; if it means something else, rename it: --rename split=other"
            )
    elif split_by not in table.column_names:
        raise SpaceError(
            f"space {name!r}: no column {split_by!r} to split by; there are {', '.join(table.column_names)}"
        )
    return table


def check_column(name: str, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of a saved space, or raise a SpaceError where an id is missing or a split is none."""
    if column == "id" and values.null_count:
        raise SpaceError(f"space {name!r}: row {int(np.flatnonzero(values.is_null())[0])} has no id; make it again")
    if column == "split" and not pc.all(pc.is_in(values, pa.array(split.SPLITS))).as_py():
        odd = sorted(set(map(str, pc.unique(values).to_pylist())) - set(split.SPLITS))
        raise SpaceError(
            f"space {name!r}: column 'split' holds {', '.join(odd[:5])}; allowed are {', '.join(split.SPLITS)}"
        )
    return values


def _texts(name: str, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return as_text(values)
    except (SpaceError, pa.ArrowException):
        raise SpaceError(f"space {name!r}: column {column!r} holds {values.type}, which is no text") from None
