"""`Catalogue`: the titles that the answers of a task may name, and how well each of them fits a vector."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vectalk.space import Point, VectorSpace
from vectalk.space.expression import evaluate
from vectalk.space.neighbors import similarity
from vectalk.space.split import TRAIN
from vectalk.talk.engine import Slots
from vectalk.tasks.naming import naming_sources
from vectalk.tasks.suite import ABOUT, Suite, Task
from vectalk.tasks.surroundings import bind

MOST_TITLES = 300_000  # training entities of a named space; of more, names are not forced
CHECKED = 200  # entities whose listed titles decide which space they name
SHARE = 0.8  # of these titles that this space must have


class Entity(NamedTuple):
    """An entity that can be named: its space, and its row there."""

    space: str
    row: int


class _Comparison(NamedTuple):
    """Compares the vector in a slot with the training entities of a space; `product` by the dot product."""

    slot: str
    space: str
    product: bool


class Named:
    """The training entities of a space as titles.

    Args:
        space: the space.
    """

    def __init__(self, space: VectorSpace) -> None:
        self.space, self.rows = space, space.rows(TRAIN)
        ids = space.column("id").to_pylist()
        titles = space.column("title").to_pylist() if "title" in space.column_names else [None] * len(space)
        self.all = [written(str(ids[row] if title is None else title)) for row, title in enumerate(titles)]
        self.titles = [self.all[row] for row in self.rows]

    @cached_property
    def _vectors(self) -> np.ndarray:
        return np.asarray(self.space.vectors[self.rows], np.float32)

    @cached_property
    def _units(self) -> np.ndarray:
        return self._vectors / np.maximum(np.linalg.norm(self._vectors, axis=1, keepdims=True), 1e-12)

    @cached_property
    def _rows_of(self) -> dict[int, list[int]]:
        rows: dict[int, list[int]] = {}
        for row, vector in enumerate(np.asarray(self.space.vectors, np.float32)):
            rows.setdefault(hash(vector.tobytes()), []).append(row)
        return rows

    def scores(self, vector: np.ndarray, product: bool) -> np.ndarray:
        """Return how similar each training entity [n] is to a vector, between -1 and 1.

        Args:
            vector: [D].
            product: use the dot product (the score of a factor model) instead of the metric of the space.
        """
        if not product and self.space.metric == "cosine":
            return self._units @ (vector / max(float(np.linalg.norm(vector)), 1e-12))
        scores = similarity(vector[None], self._vectors, "dot" if product else self.space.metric)[0]
        return scores / max(float(np.abs(scores).max(initial=0.0)), 1e-12)

    def titles_at(self, vector: np.ndarray) -> list[str]:
        """Return the titles of the entities that have exactly this vector."""
        key = hash(np.ascontiguousarray(vector, np.float32).tobytes())
        return [self.all[row] for row in self._rows_of.get(key, [])]


class Catalogue:
    """The titles that the answers of a task may name.

    Titles are those of the training entities: of the slot's own space for attributes of kind `neighbors`, and of the
    space that a column of titles refers to for the kind `titles`. If the run has no such space, they are the titles in
    the column, of which nothing more is known.

    Args:
        suite: the suite of the task.
        task: a task that names entities.
        spaces: spaces by name.

    Attributes:
        titles: different titles.
        entities: title -> the first entity with this title.
    """

    def __init__(self, suite: Suite, task: Task, spaces: Mapping[str, VectorSpace]) -> None:
        self.task, self.spaces, self._named = task, spaces, dict[str, Named]()
        self._comparisons: list[_Comparison] = []
        columns: list[str] = []
        for slot, space, attribute in naming_sources(suite, task):
            if suite.attributes[space][attribute].kind == "neighbors":
                self._comparisons.append(_Comparison(slot, space, False))
                continue
            listed = _listed(suite, spaces[space], space, attribute)
            other = self._referred(listed, space)
            if other is None:
                columns += listed
            else:
                self._comparisons.append(_Comparison(slot, other, spaces[other].dim == spaces[space].dim))
        self._comparisons = list(dict.fromkeys(self._comparisons))
        named = {one.space: self._space(one.space) for one in self._comparisons}
        self.titles = list(dict.fromkeys([*(t for one in named.values() for t in one.titles), *columns]))
        self.place = {title: place for place, title in enumerate(self.titles)}
        self._places = {name: np.array([self.place[t] for t in one.titles], np.int64) for name, one in named.items()}

    @cached_property
    def entities(self) -> dict[str, Entity]:
        """Title -> the first entity with this title."""
        entities: dict[str, Entity] = {}
        for name, named in self._named.items():
            for row, title in zip(named.rows.tolist(), named.titles, strict=True):
                entities.setdefault(title, Entity(name, row))
        return entities

    def _space(self, name: str) -> Named:
        if name not in self._named:
            self._named[name] = Named(self.spaces[name])
        return self._named[name]

    def _referred(self, listed: list[str], own: str) -> str | None:
        """Return the space that has the titles in a column; None where no space has them."""
        sample = set(listed[:: max(1, len(listed) // CHECKED)])
        for name, space in self.spaces.items():
            if name == own or not sample or len(space.rows(TRAIN)) > MOST_TITLES:
                continue
            if len(sample.intersection(self._space(name).all)) >= SHARE * len(sample):
                return name
        return None

    def vector(self, slot: str, slots: Slots) -> np.ndarray:
        """Return the vector in a slot, or that of the point that a two-slot task is about."""
        if slot != ABOUT:
            return np.asarray(slots[slot][1], np.float32)
        space = self.spaces[str(self.task.between)]
        points = {name: Point(np.asarray(vector, np.float32), space, name) for name, (_, vector) in slots.items()}
        return evaluate(str(self.task.about), space, names=points).values

    def scores(self, slots: Slots) -> np.ndarray | None:
        """Return how well each title fits the vectors of a question [T], between -1 and 1; None if nothing is known."""
        usable = [one for one in self._comparisons if one.product or self._same_space(one, slots)]
        if not usable:
            return None
        scores = np.full(len(self.titles), -np.inf, np.float32)
        for slot, space, product in usable:
            values = self._space(space).scores(self.vector(slot, slots), product).astype(np.float32)
            np.maximum.at(scores, self._places[space], values)
        scores[~np.isfinite(scores)] = 0.0
        return scores

    def _same_space(self, one: _Comparison, slots: Slots) -> bool:
        return one.space == (self.task.between if one.slot == ABOUT else slots[one.slot][0])

    def product(self, entity: Entity, slots: Slots) -> float | None:
        """Return the dot product of an entity with the vector of a user; None where the task has no such vectors."""
        for one in self._comparisons:
            if one.product and one.space == entity.space:
                own = np.asarray(self.spaces[entity.space].vectors[entity.row], np.float32)
                return float(own @ self.vector(one.slot, slots))
        return None

    def bound(self, slots: Slots) -> list[int]:
        """Return the places of the titles of the entities that are bound to the slots."""
        titles = [
            title
            for space, vector in slots.values()
            if space in self._places
            for title in self._space(space).titles_at(vector)
        ]
        return sorted({self.place[title] for title in titles if title in self.place})


def written(title: str) -> str:
    """Return a title as the texts of a corpus write it: runs of blanks count as one."""
    return " ".join(title.split())


def _listed(suite: Suite, space: VectorSpace, name: str, attribute: str) -> list[str]:
    """Return the different titles that a column lists for training entities."""
    reader = bind(suite.attributes[name], space)[attribute]
    titles = (title for row in space.rows(TRAIN) for title in reader.value(int(row)) or ())
    return list(dict.fromkeys(map(written, titles)))
