"""Read vectors from files, and join them with ids and metadata into a space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.checks import bad_rows
from vectalk.space.importing.canonical import id_text
from vectalk.space.importing.ids import Missing, check_count, check_unique, join, read_ids, text_columns
from vectalk.space.importing.ids import with_id as with_id
from vectalk.space.importing.sources import check_missing, open_source
from vectalk.space.importing.sources import read_vectors as read_vectors
from vectalk.space.importing.tables import Columns, Layout, column_list, guess_id, id_column, read_table, title_column
from vectalk.space.importing.text_files import Tell
from vectalk.space.importing.vector_columns import Vectors
from vectalk.space.neighbors import Metric
from vectalk.space.split import SPLITS
from vectalk.space.vector_space import VectorSpace

FEWEST = 10  # with fewer validation or test entities, measurements mean little


@dataclass(frozen=True)
class Import:
    """The vectors and entities that were read from files, before they become a space.

    Attributes:
        vectors: [N, D], in the type in which they will be stored.
        entities: table of the entities [N], with `id`.
        ids: source of the ids, in words.
        titles: source of the titles, in words; None if there are no titles.
        named: source of the vectors, in words.
    """

    vectors: np.ndarray
    entities: pa.Table
    ids: str
    titles: str | None
    named: str

    def __str__(self) -> str:
        titles = f"titles from {self.titles}" if self.titles else "no titles (name a column with --rename COLUMN=title)"
        return f"taken: ids from {self.ids}; {titles}; vectors of {self.vectors.shape[1]} numbers from {self.named}"

    def space(
        self,
        name: str,
        *,
        metric: Metric = "cosine",
        split_by: str | None = None,
        licence: str = "",
        tell: Tell = lambda message: None,
    ) -> VectorSpace:
        """Make the space, in memory. The default of `split_by` is `title` if there are titles, else `id`."""
        there = self.entities.column_names
        if split_by is not None and split_by not in there and split_by.lower() == "title":
            split_by = "title"
        split_by = split_by or ("title" if "title" in there else "id")
        space = VectorSpace.create(name, self.vectors, self.entities, metric=metric, split_by=split_by, licence=licence)
        few = [f"{len(space.rows(part))} {part}" for part in SPLITS if len(space.rows(part)) < FEWEST]
        if few:
            tell(f"note: {' and '.join(few)} entities (split by {space.split_by}) are too few to train and evaluate")
        return space


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
    layout: Layout | None = None,
    tell: Tell = lambda message: None,
) -> VectorSpace:
    """Make a space from a file of vectors; see `take` and `Import.space` for the arguments.

    Raises:
        SpaceError: files and options do not fit together; the message says how to correct this.
    """
    result = take(
        source,
        key=key,
        ids=ids,
        metadata=metadata,
        id_name=id_name,
        columns=columns,
        missing=missing,
        drop_bad_rows=drop_bad_rows,
        dtype=dtype,
        layout=layout,
        tell=tell,
    )
    return result.space(name, metric=metric, split_by=split_by, licence=licence, tell=tell)


def take(
    source: str | Path,
    *,
    key: str | None = None,
    ids: str | Path | None = None,
    metadata: str | Path | None = None,
    id_name: str | None = None,
    columns: Columns | None = None,
    missing: Missing = "error",
    drop_bad_rows: bool = False,
    dtype: Literal["float32", "float16"] = "float32",
    layout: Layout | None = None,
    tell: Tell = lambda message: None,
) -> Import:
    """Read vectors, ids and metadata from files.

    Args:
        source: vectors [N, D], see `read_vectors`.
        key: array, tensor or column of the vectors in `source`.
        ids: file with the id of each vector, in the same order, see `read_ids`. If omitted, the ids come from a column
            of `source`, else from the rows of `metadata`, else they are row numbers.
        metadata: table that is joined by id.
        id_name: column of the ids, if it cannot be guessed. In a table without this column, it is guessed.
        columns: how to prepare the metadata columns.
        missing: vectors without metadata: `error`, `drop` them, or `keep` them with nulls.
        drop_bad_rows: leave out rows without a vector, and vectors with NaN, infinity or only zeros.
        dtype: type in which the vectors are stored.
        layout: layout of text tables, if known; its names are those of the metadata if there are metadata.
        tell: called with what was read, guessed and left out, and with possible mistakes.

    Raises:
        SpaceError: files and options do not fit together; the message says how to correct this.
    """
    columns, layout = columns or Columns(), layout or Layout()
    if missing not in ("error", "drop", "keep"):
        raise SpaceError(f"missing must be error, drop or keep, not {missing!r}")
    if dtype not in ("float32", "float16"):
        raise SpaceError(f"dtype must be float32 or float16, not {dtype!r}")
    headless = layout if metadata is None else replace(layout, names=None)
    text = text_columns(id_name, columns.rename)
    opened = open_source(source, key, text, headless, tell)
    vectors = opened.values
    if vectors.shape[1] > vectors.shape[0]:
        tell(
            f"note: {source} has {vectors.shape[0]} vectors with {vectors.shape[1]} dimensions; if rows and columns "
            "are exchanged, save the transposed array"
        )
    if vectors.dtype.itemsize == 1:
        tell(
            f"note: {source} has numbers of 8 bits ({vectors.dtype}); if they are packed bits of binary embeddings, "
            "save unpacked ones: numpy.unpackbits(array.view('uint8'), axis=1)"
        )
    listed = None if ids is None else read_ids(Path(ids), id_name, headless, tell)
    facts = None if metadata is None else read_table(metadata, text, layout, tell)
    own, facts, ids_from = _named(opened, str(source), listed, str(ids), facts, str(metadata), id_name, tell)
    if not drop_bad_rows:
        check_missing(opened, source)
    vectors = _as_type(vectors, dtype, str(source), drop_bad_rows, tell)
    indices = _good_rows(vectors, str(source), tell) if drop_bad_rows else np.arange(len(vectors))
    table = own.take(indices)
    if facts is not None:
        columns, facts = columns.renamed(facts)  # before the join, because the vectors' table may have the same name
        table, rows = join(table, facts, str(metadata), missing, tell)
        indices = indices[rows]
    titles = title_column([columns.rename.get(name, name) for name in table.column_names])
    table = columns.apply(table, str(metadata or source), tell)
    result = Import(
        vectors if len(indices) == len(vectors) else vectors[indices],
        table,
        ids_from,
        None if titles is None else _origin(titles, own, str(source), str(metadata)),
        f"{opened.named!r} of {source}" if opened.others is not None else str(source),
    )
    tell(str(result))
    return result


def _origin(title: str, own: pa.Table, source: str, metadata: str) -> str:
    return f"{title!r} of {source if title in own.column_names else metadata}"


def _as_type(
    vectors: np.ndarray, dtype: Literal["float32", "float16"], source: str, drop_bad_rows: bool, tell: Tell
) -> np.ndarray:
    """Return vectors as `dtype`.

    Raises:
        SpaceError: a number is too large, or all numbers of a row are too small, for `dtype`, and no rows are dropped.
    """
    if vectors.dtype == dtype:
        return vectors
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        stored = vectors.astype(dtype)
    for rows, good, problem in zip(
        bad_rows(stored),
        (lambda row: np.isfinite(row).all(), lambda row: (row != 0).any()),
        ("too large", "too small"),
        strict=True,
    ):
        row = next((int(row) for row in rows if good(vectors[row])), None)
        if row is not None:
            other = "store them with --dtype float32, or " if dtype == "float16" else ""
            message = (
                f"{source}: row {row} has numbers of about {np.abs(vectors[row]).max():.1e}, {problem} for {dtype}; "
                f"{other}multiply all vectors by one number, and save them again"
            )
            if not drop_bad_rows:
                raise SpaceError(message)
            tell(f"note: {message}; --drop-bad-rows drops such rows")
    return stored


def _good_rows(vectors: np.ndarray, source: str, tell: Tell) -> np.ndarray:
    bad = np.unique(np.concatenate(bad_rows(vectors)))
    if len(bad) == len(vectors):
        raise SpaceError(f"{source}: every vector is a bad row (none, NaN, infinity or only zeros); check the file")
    if len(bad):
        examples = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        tell(f"{len(bad)} of {len(vectors)} vectors dropped: none, NaN, infinity or only zeros (rows {examples})")
    return np.setdiff1d(np.arange(len(vectors)), bad)


def _named(
    vectors: Vectors,
    source: str,
    listed: pa.Table | None,
    ids: str,
    facts: pa.Table | None,
    metadata: str,
    id_name: str | None,
    tell: Tell,
) -> tuple[pa.Table, pa.Table | None, str]:
    """Return the table of the vectors and the metadata, both with a column `id`, and the source of the ids."""
    rows = len(vectors.values)
    own = vectors.others if vectors.others is not None and vectors.others.num_columns else None
    read = {where: t for where, t in ((source, own), (ids, listed), (metadata, facts)) if t is not None}
    if id_name is not None and not any(id_name in table.column_names for table in read.values()):
        there = "; ".join(f"{where} has {column_list(table.column_names)}" for where, table in read.items())
        raise SpaceError(f"no column {id_name!r} for the ids; {there or f'{source} has no columns'}")
    facts_id = None if facts is None else _id_column(facts, id_name, metadata)
    facts = None if facts is None else with_id(facts, facts_id, metadata)
    own_id = None if own is None else _own_id(own, id_name, source, required=listed is None)
    if listed is not None:
        check_count(rows, source, listed.num_rows, ids, from_metadata=False)
        name = _id_column(listed, id_name, ids)
        entities = with_id(listed, name, ids)
        if own is not None:
            entities = _beside(entities, own, own_id, source, ids, tell)
        where = ids if listed.num_columns == 1 else f"{name!r} of {ids}"
    elif own is not None and own_id is not None:
        entities, where = with_id(own, own_id, source), f"{own_id!r} of {source}"
    elif facts is not None:
        check_count(rows, source, facts.num_rows, metadata, from_metadata=True)
        tell(f"{source} has no ids: row i of {metadata} is paired with vector i (give --ids to join by id)")
        entities, where = facts.select(["id"]), f"{facts_id!r} of {metadata}, row by row"
    else:
        tell(f"no ids: the ids are the row numbers 0 to {rows - 1} (give ids with --ids or --metadata)")
        entities, where = pa.table({"id": pa.array([str(row) for row in range(rows)])}), "row numbers"
    if listed is None and own is not None and own_id is None:
        for name in own.column_names:
            entities = entities.append_column(name, own[name])
    check_unique(entities["id"], ids if listed is not None else source if own_id is not None else metadata)
    return entities, facts, where


def _id_column(table: pa.Table, id_name: str | None, where: str) -> str:
    return id_column(table, id_name if id_name in table.column_names else None, where, "--id-column")


def _own_id(own: pa.Table, id_name: str | None, source: str, *, required: bool) -> str | None:
    """Return the column of ids in the file of the vectors, or None if no column can have ids.

    Raises:
        SpaceError: several columns could be the ids, and ids are required.
    """
    if id_name in own.column_names:
        return id_name
    called = guess_id(own.column_names, alone=False)
    if called is not None or not required or all(_is_measure(own[name].type) for name in own.column_names):
        return called
    return id_column(own, None, source, "--id-column")


def _is_measure(kind: pa.DataType) -> bool:
    """Return whether a column cannot have ids: floats, truth values, lists or nulls."""
    return pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_nested(kind) or pa.types.is_null(kind)


def _beside(entities: pa.Table, own: pa.Table, own_id: str | None, source: str, ids: str, tell: Tell) -> pa.Table:
    """Return the listed ids with the other columns of the file of the vectors, which may have ids too."""
    if own_id is not None:
        theirs = id_text(own[own_id])
        same = pc.all(pc.equal(theirs, entities["id"])).as_py()
        numbers = [str(row) for row in range(entities.num_rows)]
        if not same and theirs.to_pylist() != numbers and set(theirs.to_pylist()) == set(entities["id"].to_pylist()):
            raise SpaceError(
                f"column {own_id!r} of {source} and {ids} have the same ids in another order, so one of them is "
                "wrong; omit --ids if the column is right"
            )
        if not same:
            tell(f"note: the ids come from {ids}, not from column {own_id!r} of {source}")
    for name in own.column_names:
        if name not in entities.column_names:
            entities = entities.append_column(name, own[name])
    return entities
