"""`VectorSpace`: vectors of one dimension with the ids, titles, metadata and split of their entities."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vectalk.errors import ExpressionError, SpaceError, UnknownEntityError
from vectalk.files import atomic_folder, holds, write_json
from vectalk.hub_address import local_folder
from vectalk.reading.cards import stamp
from vectalk.space import expression, split
from vectalk.space.checks import (
    SPACE_FILES,
    check_entities,
    check_vectors,
    fingerprint,
    split_hash,
    splits,
)
from vectalk.space.entity_table import EntityTable
from vectalk.space.lookup import Lookup
from vectalk.space.neighbors import METRICS, Metric, nearest
from vectalk.space.normalizer import Normalizer
from vectalk.space.point import Point
from vectalk.space.support import Calibration, Support

SUPPORT = "support.safetensors"
GROUP = 10_000  # rows of a row group: reading one entity reads its row group


class VectorSpace(EntityTable):
    """A space of N vectors of dimension D; row i of the vectors belongs to row i of the entities.

    Make one with `create`, open a saved one with `load`. Attributes: `name`, `vectors` [N, D] (memory-mapped
    once saved), `metric`, `normalizer`, `split_by`, `split_rule` (see `vectalk.space.split`; None where the splits
    were given), `fingerprint` (of ids and vectors), `split_hash`, `licence`, `encoder` (the text encoder that made
    the vectors, where one did), `path`.
    """

    def __init__(
        self,
        name: str,
        vectors: np.ndarray,
        entities: pa.Table | Path,
        *,
        metric: Metric,
        normalizer: Normalizer,
        split_by: str,
        fingerprint: str,
        split_hash: str,
        split_rule: int | None = None,
        licence: str = "",
        encoder: str | None = None,
        path: Path | None = None,
    ) -> None:
        super().__init__(name, entities, vectors)
        self.metric, self.normalizer = metric, normalizer
        self.split_by, self.split_rule, self.split_hash = split_by, split_rule, split_hash
        self.fingerprint, self.licence, self.encoder, self.path = fingerprint, licence, encoder, path

    # ---- create, save, load

    @classmethod
    def create(
        cls,
        name: str,
        vectors: np.ndarray,
        entities: pa.Table | Mapping[str, Sequence[Any]],
        *,
        metric: Metric = "cosine",
        split_by: str = "id",
        split_rule: int = split.RULE,
        licence: str = "",
        encoder: str | None = None,
    ) -> VectorSpace:
        """Make a space in memory.

        Args:
            name: name of the space and of a slot for its points, e.g. `film`.
            vectors: [N, D] float32 or float16 (other number types are cast to float32).
            entities: table with a column `id` and optional columns `title` and metadata. A column `split` is used as it
                is; otherwise a rule assigns the splits.
            metric: similarity measure of the neighbours.
            split_by: the column whose hash decides the split; `title` is normalised first.
            split_rule: rule that normalises titles; use the rule of an older space to get the same splits.
            licence: licence note that is saved with the space.
            encoder: name of the text encoder of the vectors; None where no encoder made them.

        Raises:
            SpaceError: shapes disagree, ids repeat, or rows hold NaN, infinity or nothing but zeros.
        """
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise SpaceError(
                f"a space cannot be called {name!r}: its name is that of a slot; take letters, digits and _"
            )
        vectors = check_vectors(name, vectors)
        table = entities if isinstance(entities, pa.Table) else pa.table(dict(entities))
        table = check_entities(name, table, len(vectors), split_by)
        if metric not in METRICS:
            raise SpaceError(f"space {name!r}: unknown metric {metric!r}; take one of {', '.join(METRICS)}")
        rule = "given" if "split" in table.column_names else split_by
        if rule != "given":
            table = table.append_column("split", pa.array(splits(table, rule, split_rule)))
        rows = np.flatnonzero(np.asarray(pc.equal(table["split"], split.TRAIN)))
        if not len(rows):
            raise SpaceError(f"space {name!r}: no entity falls into the train split ({len(vectors)} in all)")
        return cls(
            name,
            vectors,
            table,
            metric=metric,
            normalizer=Normalizer.fit(vectors, rows),
            split_by=rule,
            split_rule=None if rule == "given" else split_rule,
            fingerprint=fingerprint(vectors, table["id"].to_pylist()),
            split_hash=split_hash(table["split"]),
            licence=licence,
            encoder=encoder,
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> VectorSpace:
        """Write the space to a folder, completely or not at all, and return the saved space."""
        from vectalk.space.card import FORMAT

        with atomic_folder(path, "space.json", overwrite=overwrite) as folder:
            np.save(folder / "vectors.npy", self.vectors)
            pq.write_table(self.entities, folder / "entities.parquet", row_group_size=GROUP)
            self.calibration.save(folder / SUPPORT)
            write_json(
                folder / "space.json",
                {
                    **stamp(FORMAT),
                    "name": self.name,
                    "rows": len(self),
                    "dim": self.dim,
                    "metric": self.metric,
                    "split_by": self.split_by,
                    "split_rule": self.split_rule,
                    "fingerprint": self.fingerprint,
                    "split_hash": self.split_hash,
                    "licence": self.licence,
                    "encoder": self.encoder,
                    "normalizer": {
                        "mean": [float(x) for x in self.normalizer.mean],
                        "scale": [float(x) for x in self.normalizer.scale],
                    },
                },
            )
        return VectorSpace.load(path)

    @classmethod
    def load(cls, path: str | Path) -> VectorSpace:
        """Open a saved space, or one on the hub, `hf://owner/name`.

        The vectors stay on disk until they are used. A file `vectors.safetensors` with one tensor may replace
        `vectors.npy`.

        Raises:
            SpaceError: the folder is not a space, is incomplete, or has a newer format.
        """
        from vectalk.space.card import SpaceCard  # pydantic takes a while to import

        folder = local_folder(path, SPACE_FILES, SpaceError)
        if not holds(folder, "space.json"):
            problem = "no such folder" if not folder.exists() else "it has no space.json"
            raise SpaceError(
                f"{folder} is not a space ({problem}); make one with `vectalk space import` or "
                "`vectalk space factorize`, or name one on the hub as hf://owner/name"
            )
        card = SpaceCard.read(folder)
        vectors, entities = card.open_vectors(folder), card.check_entities(folder)
        return cls(
            card.name,
            vectors,
            entities,
            metric=card.metric,
            normalizer=card.normalizer.fitted(),
            split_by=card.split_by,
            split_rule=card.rule,
            fingerprint=card.fingerprint,
            split_hash=card.hash_of_split(entities),
            licence=card.licence,
            encoder=card.encoder,
            path=folder,
        )

    def verify(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Recompute the fingerprint from ids and vectors, and the hash of the split; tell rows read, rows in all.

        Raises:
            SpaceError: ids, vectors or split changed since the space was made.
        """
        check_vectors(self.name, self.vectors)
        now = fingerprint(self.vectors, self.column("id").to_pylist(), progress)
        if now != self.fingerprint:
            raise SpaceError(
                f"space {self.name!r} at {self.path}: fingerprint {self.fingerprint[:12]} was stored, "
                f"the files give {now[:12]}: ids or vectors changed since it was made; import it again"
            )
        if split_hash(self.column("split")) != self.split_hash:
            raise SpaceError(
                f"space {self.name!r} at {self.path}: column 'split' changed since it was made; import it again"
            )

    # ---- contents

    def __repr__(self) -> str:
        place = f" at {self.path}" if self.path is not None else ""
        return f"VectorSpace({self.name!r}: {len(self)} x {self.dim}, {self.metric}{place})"

    @staticmethod
    def of(point: Point) -> VectorSpace:
        """Return the space that a point lies in.

        Raises:
            SpaceError: the point's space is not a `VectorSpace`.
        """
        if not isinstance(point.space, VectorSpace):
            raise SpaceError(f"{point.source} lies in {point.space!r}, which is no VectorSpace")
        return point.space

    @cached_property
    def _names(self) -> Lookup:
        return Lookup(self.name, self.column("id"), self.column("title") if "title" in self.column_names else None)

    def find(self, name: str) -> int:
        """Return the row of an id or a title; "The Matrix (1999)" finds "Matrix, The (1999)".

        Raises:
            UnknownEntityError: no entity has that name (the error lists the closest titles), or several do.
        """
        return self._names.find(name).row

    def __getitem__(self, key: str | int) -> Point:
        """Return the point of an entity, by id or title, or by row number; see `find`."""
        row, note = (int(key), "") if isinstance(key, int | np.integer) else self._names.find(key)
        if not 0 <= row < len(self):
            raise UnknownEntityError(f"space {self.name!r} has rows 0 to {len(self) - 1}, not {row}")
        title = self.title(row)
        values = np.asarray(self.vectors[row], np.float32)
        return Point(values, self, expression.quoted(title), row, (title,), (note,) if note else ())

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def point(self, text: str, functions: Mapping[str, expression.Function] | None = None) -> Point:
        """Return the point of an expression, or of a bare id or title.

        Raises:
            ExpressionError: the expression is malformed.
            UnknownEntityError: a name is not in the space, or several entities have it.
        """
        if text in self:
            return self[text]
        try:
            return expression.evaluate(text, self, functions)
        except (ExpressionError, UnknownEntityError) as error:
            called = any(f"{name}(" in text for name in [*expression.FUNCTIONS, *(functions or ())])
            # The text may be another spelling of a title, even of one with quotation marks.
            if called or (re.search("['\"]", text) and re.match(r"\s*(['\"(.\d-]|\w+\()", text)):
                raise
            if isinstance(error, ExpressionError):
                return self[text]
            # `wall-e` parses as a difference of two unknown names, but may be a title.
            if not re.fullmatch(r"\s*\w+\s*", text) and self._names.spelled(text) is not None:
                return self[text]
            raise

    # ---- near and far

    def neighbors(
        self, points: np.ndarray | Point | str, k: int = 10, *, split_name: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and similarities of the k nearest entities, exactly.

        Args:
            points: a Point (its own row is excluded), a title, id or expression, or vectors [Q, D].
            k: number of neighbours.
            split_name: search this split only.

        Returns:
            Rows and similarities, [k] for a Point or a string, else [Q, k].
        """
        points = self.point(points) if isinstance(points, str) else points
        rows = None if split_name is None else self.rows(split_name)
        if isinstance(points, Point):
            own = np.array([-1 if points.row is None else points.row])
            nearest_rows, scores = nearest(points.values, self.vectors, k, self.metric, rows=rows, exclude=own)
            return nearest_rows[0], scores[0]
        return nearest(points, self.vectors, k, self.metric, rows=rows)

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration of `support`: loaded, or fitted on first use."""
        saved = None if self.path is None else self.path / SUPPORT
        if saved is not None and saved.is_file():
            return Calibration.load(saved, self.vectors)
        if not len(self.rows(split.TRAIN)):
            raise SpaceError(f"space {self.name!r} has no entity of the train split to compare with; make it again")
        return Calibration.fit(self.vectors, self.rows(split.TRAIN))

    def support(self, point: Point) -> Support:
        """Return how near a point lies to real (training) entities."""
        return self.calibration.supports(point.values[None], [point.row], [point.sources])[0]

    def map(self, colour: str | None = None, on_click: Callable[[Point], Any] | None = None) -> Any:
        """Show the map of the space in a notebook. Needs `pip install 'vectalk[notebook]'`.

        The layout beside the space is shown; where there is none, one is computed, which can take a minute
        (`vectalk space layout DIR` saves one).

        Args:
            colour: the column whose values colour the points; of a list such as genres, the first value counts.
            on_click: receives a `Point` for each click on a point (its entity), and for each lasso that does not hold
                exactly one point (the vector that the place in the middle of the lasso stands for).

        Returns:
            A `jscatter.Scatter`, which a notebook displays and which takes further options of that library.

        Raises:
            SpaceError: jupyter-scatter is not installed, or the space has no such column.
        """
        # By name: the layout imports this class.
        return import_module("vectalk.space.layout.notebook").notebook_map(self, colour, on_click)

    def supports(self, vectors: np.ndarray) -> list[Support]:
        """Return how near vectors [Q, D] without an entity lie to real (training) entities."""
        vectors = np.atleast_2d(np.asarray(vectors, np.float32))
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise SpaceError(f"vectors of space {self.name!r} have {self.dim} dimensions, these have {vectors.shape}")
        return self.calibration.supports(vectors, [None] * len(vectors), [()] * len(vectors))
