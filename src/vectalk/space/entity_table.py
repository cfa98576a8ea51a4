"""`EntityTable`: ids, titles, metadata and split of the entities of a space, read from disk when they are needed."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vectalk.display import html_table, to_pandas
from vectalk.errors import SpaceError
from vectalk.reading.arrays import read_parquet
from vectalk.space.checks import check_column
from vectalk.space.importing.table_files import read_row

SHOWN_ROWS, SHOWN_CHARACTERS = 5, 80  # of the table in a notebook


class EntityTable:
    """The entities of a space: row i belongs to vector i.

    Args:
        name: what the space is called, for messages.
        entities: the table, or the parquet file that holds it.
        vectors: [N, D] their vectors.
    """

    def __init__(self, name: str, entities: pa.Table | Path, vectors: np.ndarray) -> None:
        self.name, self.vectors = name, vectors
        self._entities = entities
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._rows: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return int(self.vectors.shape[0])

    @property
    def dim(self) -> int:
        """Vector dimension D."""
        return int(self.vectors.shape[1])

    @property
    def entities(self) -> pa.Table:
        """The whole table of entities, read from disk at each call."""
        return self._read()

    @cached_property
    def column_names(self) -> list[str]:
        """Names of the entity columns."""
        if isinstance(self._entities, pa.Table):
            return self._entities.column_names
        return pq.read_schema(self._entities).names

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one entity column; it is read on first use and kept."""
        if name not in self._columns:
            if name not in self.column_names:
                raise SpaceError(f"space {self.name!r} has no column {name!r}; it has {', '.join(self.column_names)}")
            self._columns[name] = check_column(self.name, name, self._read([name])[name])
        return self._columns[name]

    def _read(self, columns: list[str] | None = None) -> pa.Table:
        if isinstance(self._entities, pa.Table):
            return self._entities
        return read_parquet(self._entities, columns, error=SpaceError)

    def rows(self, split_name: str) -> np.ndarray:
        """Return the rows [n] of a split: `train`, `validation` or `test`."""
        if split_name not in self._rows:
            self._rows[split_name] = np.flatnonzero(np.asarray(pc.equal(self.column("split"), split_name)))
        return self._rows[split_name]

    def title(self, row: int) -> str:
        """Return the title of a row, or its id if there is no title."""
        value = self.column("title")[row].as_py() if "title" in self.column_names else None
        return str(value if value is not None else self.column("id")[row].as_py())

    def metadata(self, row: int) -> dict[str, Any]:
        """Return all columns of one entity; only a part of the file is read, since texts may be long."""
        if isinstance(self._entities, pa.Table):
            return self._entities.slice(row, 1).to_pylist()[0]
        try:
            return read_row(self._entities, row)
        except (pa.ArrowException, OSError, ValueError, IndexError) as error:
            raise SpaceError(f"{self._entities} cannot be read: {error}; make the space again") from None

    def where(self, column: str, value: Any, split_name: str | None = None) -> np.ndarray:
        """Return the rows whose column equals `value`, or, for a list column, holds it."""
        values = self.column(column)
        if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
            flat = values.combine_chunks()
            parents = np.asarray(pc.list_parent_indices(flat))
            rows = np.unique(parents[np.asarray(pc.fill_null(pc.equal(pc.list_flatten(flat), value), False))])
        else:
            rows = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(values, value), False)))
        return rows if split_name is None else np.intersect1d(rows, self.rows(split_name))

    # ---- as tables

    def to_arrow(self, *, vectors: bool = False) -> pa.Table:
        """Return the entities as a table.

        Args:
            vectors: add a column `vector` of fixed-size lists [D]; this reads all vectors into memory.
        """
        if not vectors:
            return self.entities
        flat = pa.array(np.ascontiguousarray(self.vectors).reshape(-1))
        return self.entities.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, self.dim))

    def to_pandas(self, *, vectors: bool = False) -> Any:
        """Return `to_arrow` as a data frame; needs pandas."""
        return to_pandas(self.to_arrow(vectors=vectors))

    def _repr_html_(self) -> str:
        """Show the first entities in a notebook."""
        first = [self.metadata(row) for row in range(min(SHOWN_ROWS, len(self)))]
        cells = [[_short(row.get(name)) for name in self.column_names] for row in first]
        return html_table(self.column_names, cells, repr(self))


def _short(value: Any) -> Any:
    text = str(value)
    return value if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} ..."
