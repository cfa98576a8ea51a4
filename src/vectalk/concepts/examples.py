"""Positives and negatives: from lists of entities, from metadata, from a table of tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import ConceptError
from vectalk.space import Point, VectorSpace
from vectalk.space.importing.canonical import id_text
from vectalk.space.importing.tables import as_text, column, is_list, is_text, read_table
from vectalk.space.split import TEST, TRAIN
from vectalk.space.titles import closest

MOST = 5_000  # most entities of one side that a concept is fitted to or measured on

Entities = np.ndarray | Sequence[int] | Sequence[str] | Sequence[Point]
"""Rows, a mask [N], ids, titles, or points of entities."""

_CONDITION = re.compile(r"\s*([^<>=]+?)\s*(>=|<=|=|>|<)\s*(.+?)\s*")
_COMPARE = {">=": pc.greater_equal, "<=": pc.less_equal, ">": pc.greater, "<": pc.less}


@dataclass(frozen=True)
class Examples:
    """Rows of the entities that have a concept, and of those that do not."""

    positive: np.ndarray
    negative: np.ndarray

    @classmethod
    def of(cls, space: VectorSpace, positive: Entities, negative: Entities | None = None) -> Examples:
        """Look entities up; the negatives are all others when omitted.

        Raises:
            ConceptError: an entity is on both sides, or a row is not in the space.
            UnknownEntityError: a name is not in the space.
        """
        has = rows_of(space, positive)
        lacks = np.setdiff1d(np.arange(len(space)), has) if negative is None else rows_of(space, negative)
        both = np.intersect1d(has, lacks)
        if len(both):
            raise ConceptError(
                f"{len(both)} entities of space {space.name!r} are both positive and negative, "
                f"e.g. {space.title(int(both[0]))!r}; keep each on one side"
            )
        return cls(has, lacks)

    def split(self, space: VectorSpace, name: str, rng: np.random.Generator) -> Examples:
        """Return the examples in one split; a random sample if there are more than MOST."""
        return Examples(*(_some(rows[np.isin(rows, space.rows(name))], rng) for rows in (self.positive, self.negative)))

    def fitted(self, space: VectorSpace, rng: np.random.Generator) -> Examples:
        """Return the training entities, from which a concept is learned."""
        return self.split(space, TRAIN, rng)

    def measured(self, space: VectorSpace, rng: np.random.Generator) -> Examples:
        """Return the test entities, on which a concept is measured."""
        return self.split(space, TEST, rng)


def rows_of(space: VectorSpace, entities: Entities) -> np.ndarray:
    """Return the sorted, distinct rows [n] of entities in any of the forms of `Entities`."""
    array = np.asarray(entities) if isinstance(entities, np.ndarray) else None
    if array is not None and array.dtype == bool:
        if array.shape != (len(space),):
            raise ConceptError(
                f"a mask of space {space.name!r} has {len(space)} entries, this one has shape {array.shape}"
            )
        return np.flatnonzero(array)
    if isinstance(entities, str):
        entities = [entities]
    rows = np.unique(np.array([_row(space, entity) for entity in entities], np.int64))
    if len(rows) and not (rows[0] >= 0 and rows[-1] < len(space)):
        raise ConceptError(f"space {space.name!r} has rows 0 to {len(space) - 1}, not {rows[0]} or {rows[-1]}")
    return rows


def _row(space: VectorSpace, entity: Any) -> int:
    if isinstance(entity, str):
        return space.find(entity)
    if isinstance(entity, Point):
        if entity.row is None or entity.space.fingerprint != space.fingerprint:
            raise ConceptError(f"{entity.source} is not an entity of space {space.name!r}; examples must be entities")
        return entity.row
    if isinstance(entity, int | np.integer) and not isinstance(entity, bool):
        return int(entity)
    raise ConceptError(f"{entity!r} is not a row, id, title or point of space {space.name!r}")


def _some(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= MOST else np.sort(rng.choice(rows, MOST, replace=False))


# ---- metadata


def by_metadata(space: VectorSpace, conditions: Iterable[str]) -> Examples:
    """Return the entities that meet all conditions, and those that fail one.

    Entities with unknown values are on neither side.

    Args:
        space: the space of the entities.
        conditions: such as `genres=Comedy` (a list holds it), `year>=1990`.
    """
    has, known = np.ones(len(space), bool), np.ones(len(space), bool)
    for condition in conditions:
        meets, stated = _meets(space, condition)
        has, known = has & meets, known & stated
    return Examples(np.flatnonzero(has & known), np.flatnonzero(~has & known))


def _meets(space: VectorSpace, condition: str) -> tuple[np.ndarray, np.ndarray]:
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise ConceptError(f"a condition reads COLUMN=VALUE, or e.g. COLUMN>=NUMBER, not {condition!r}")
    name, sign, text = match.groups()
    values = space.column(name)
    stated = known(space, name)
    kind = values.type.value_type if is_list(values.type) else values.type
    try:
        value = text if is_text(kind) else pa.scalar(text).cast(kind).as_py()
    except pa.ArrowException:
        raise ConceptError(
            f"column {name!r} of space {space.name!r} holds {kind}, so {text!r} cannot be in it"
        ) from None
    if sign == "=":
        meets = np.zeros(len(space), bool)
        meets[space.where(name, value)] = True
        if not meets.any():
            near = closest(text, [str(v) for v in values_of(space, name)])
            raise ConceptError(
                f"no entity of space {space.name!r} has {name}={text}"
                + (f"; did you mean {', '.join(near)}?" if near else "")
            )
        return meets, stated
    if is_list(values.type) or is_text(kind):
        raise ConceptError(f"{condition!r}: column {name!r} holds {values.type}, which has no order; use =")
    return np.asarray(pc.fill_null(_COMPARE[sign](values, pa.scalar(value, kind)), False)), stated


def known(space: VectorSpace, name: str) -> np.ndarray:
    """Return which entities [N] state a column: not null, and no empty list."""
    values = space.column(name)
    filled = pc.greater(pc.list_value_length(values), 0) if is_list(values.type) else pc.is_valid(values)
    return np.asarray(pc.fill_null(filled, False))


def values_of(space: VectorSpace, name: str) -> list[Any]:
    """Return the distinct values of a column, or of its lists, most frequent first."""
    values = space.column(name)
    flat = pc.list_flatten(values) if is_list(values.type) else values
    counts = pc.value_counts(flat.drop_null()).to_pylist()
    return [entry["values"] for entry in sorted(counts, key=lambda entry: (-entry["counts"], str(entry["values"])))]


def every_value(space: VectorSpace, name: str, least: int) -> dict[str, Examples]:
    """Return the examples of each value of a column that at least `least` training entities have."""
    stated, examples = known(space, name), {}
    for value in values_of(space, name):
        has = np.zeros(len(space), bool)
        has[space.where(name, value)] = True
        if has[space.rows(TRAIN)].sum() >= least:
            examples[str(value)] = Examples(np.flatnonzero(has), np.flatnonzero(stated & ~has))
    return examples


# ---- tags


def read_tags(
    path: str | Path, space: VectorSpace, *, item_column: str | None = None, tag_column: str = "tag", least: int = 1
) -> dict[str, Examples]:
    """Return the examples of each tag of a table with one row for each time that a person tagged an entity.

    Tags are compared without regard to case. An entity without any tag is not a negative: it may have the concept
    although no person tagged it.

    Args:
        path: csv, tsv, parquet or jsonl.
        space: the space of the ids.
        item_column: column of the ids; guessed from its name when omitted.
        tag_column: column of the tags.
        least: leave out tags that fewer training entities have.
    """
    usual = ("id", "item", "item_id", "itemId", "movieId", "movie_id")
    table = read_table(path, text=[name for name in (*usual, item_column, tag_column) if name])
    item = next((name for name in usual if name in table.column_names), None) if item_column is None else item_column
    if item is None:
        raise ConceptError(
            f"{path}: which column holds the ids? Name it with --item-column; there are {', '.join(table.column_names)}"
        )
    ids, tags = (table[column(table, name, str(path))] for name in (item, tag_column))
    for read in (id_text, as_text):  # older spaces keep ids in the form of their files
        at = pc.index_in(read(ids), as_text(space.column("id")).combine_chunks())
        rows = np.asarray(pc.fill_null(at.combine_chunks() if isinstance(at, pa.ChunkedArray) else at, -1))
        if (rows >= 0).any():
            break
    else:
        raise ConceptError(f"{path}: no id in column {item!r} is one of space {space.name!r}; name another column")
    groups: dict[str, list[int]] = {}
    for row, tag in zip(rows.tolist(), tags.cast(pa.string()).to_pylist(), strict=True):
        if row >= 0 and tag and tag.strip():
            groups.setdefault(tag.strip().casefold(), []).append(row)
    tagged = np.unique(rows[rows >= 0])
    train = space.rows(TRAIN)
    rows_of_tag = {tag: np.unique(members) for tag, members in groups.items()}
    return {
        tag: Examples(members, np.setdiff1d(tagged, members))
        for tag, members in sorted(rows_of_tag.items(), key=lambda item: (-len(item[1]), item[0]))
        if np.isin(members, train).sum() >= least
    }


def named(examples: dict[str, Examples], tags: Sequence[str], where: str) -> dict[str, Examples]:
    """Return the examples of some tags, without regard to case; the error for an unknown tag lists the closest tags."""
    for tag in tags:
        if tag.strip().casefold() not in examples:
            near = ", ".join(closest(tag, list(examples))) or "none"
            raise ConceptError(f"{where}: no training entity is tagged {tag!r}; the closest tags are {near}")
    return {tag.strip(): examples[tag.strip().casefold()] for tag in tags}
