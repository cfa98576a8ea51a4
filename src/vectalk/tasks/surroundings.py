"""Attributes that are computed from the space: the nearest entities, how near they are, and how an entity differs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from vectalk.space import VectorSpace
from vectalk.space.neighbors import nearest
from vectalk.space.split import TRAIN
from vectalk.tasks.attributes import COMPUTED, DERIVED, SURROUNDINGS, Attribute, AttributeReader, is_missing

REMEMBERED = 100_000  # entities whose surroundings are cached
SAMPLE = 2_000  # training entities whose surroundings decide the boundaries of bands
CHANCE = 2.0  # a value is typical of the surroundings if it is this many standard deviations above chance
FEWEST = 2  # nearest entities that must have a value before it counts as typical


class Surroundings:
    """The nearest training entities of rows, looked up in bulk and cached.

    Args:
        space: the space.
        among: training rows to search.
        count: number of nearest entities, k.
    """

    def __init__(self, space: VectorSpace, among: np.ndarray, count: int) -> None:
        self.space, self.among, self.count = space, among, count
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, vectors: np.ndarray, exclude: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and similarities [n, k], best first, of the entities nearest to vectors [n, D]."""
        space = self.space
        return nearest(vectors, space.vectors, self.count, space.metric, rows=self.among, exclude=exclude)

    def prepare(self, rows: Iterable[int]) -> None:
        """Look up many rows at once."""
        missing = np.array([row for row in dict.fromkeys(rows) if row not in self._known], np.int64)
        if not len(missing):
            return
        if len(self._known) + len(missing) > REMEMBERED:
            self._known.clear()
        rows_and_scores = self.at(self.space.vectors[missing], missing)
        self._known.update(
            (int(row), (near, score)) for row, near, score in zip(missing, *rows_and_scores, strict=True)
        )

    def of(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and similarities [k] of the entities nearest to a row, without the row itself."""
        if row not in self._known:
            self.prepare([row])
        return self._known[row]


class SpaceReader(AttributeReader):
    """An attribute that is computed from the space or from another attribute instead of its own column.

    Args:
        name: name of the attribute.
        attribute: definition of the attribute.
        space: the space.
        others: the other attributes of the space, which `of`, `where` and `without` name.
        shared: surroundings by their key, so that several attributes can use the same ones.
    """

    def __init__(
        self,
        name: str,
        attribute: Attribute,
        space: VectorSpace,
        others: Mapping[str, AttributeReader],
        shared: dict[Any, Surroundings],
    ) -> None:
        super().__init__(name, attribute, space)
        self.others, self._shared = others, shared
        self._values: dict[int, list[str]] = {}
        named = [n for n in (attribute.of, *attribute.where, *attribute.without) if n is not None]
        self.present = all(others[n].present for n in named)
        if self.kind == "relative":
            self.present = self.column in space.column_names
            if self.present:
                self._check_type(space.column(self.column).type)

    @property
    def source(self) -> AttributeReader:
        """The attribute whose values this one uses (`of`)."""
        return self.others[str(self.attribute.of)]

    # ---- values

    @cached_property
    def surroundings(self) -> Surroundings:
        """Nearest training entities that satisfy `where` and `without`; attributes with equal conditions share them."""
        a = self.attribute
        key = (tuple(sorted(a.where.items())), tuple(sorted(a.without.items())))
        depth = max(
            max(other.near, other.count)
            for other in (reader.attribute for reader in self.others.values() if isinstance(reader, SpaceReader))
            if (other.where, other.without) == (a.where, a.without)
        )
        if key not in self._shared:
            rows = self.space.rows(TRAIN)
            if a.where or a.without:
                rows = np.array([row for row in map(int, rows) if self._admits(row)], np.int64)
            self._shared[key] = Surroundings(self.space, rows, depth)
        return self._shared[key]

    def _admits(self, row: int) -> bool:
        def has(name: str, required: str) -> bool:
            value = self.others[name].value(row)
            return required in value if isinstance(value, list) else value == required

        where, without = self.attribute.where, self.attribute.without
        return all(has(*pair) for pair in where.items()) and not any(has(*pair) for pair in without.items())

    def value(self, row: int) -> Any:
        """Return the value of a row, or None if it has none."""
        if not self.present:
            return None
        if self.kind in DERIVED:
            return self.derive(self.source.value(row))
        return self._value(*self.surroundings.of(row), row)

    def at(self, vectors: np.ndarray, lookups: dict[int, tuple[np.ndarray, np.ndarray]] | None = None) -> list[Any]:
        """Return the value at each vector; None for kinds that depend on more than the surroundings.

        Args:
            vectors: the points [n, D].
            lookups: surroundings of these vectors that were looked up before, by key; new look-ups are added, so that
                other attributes can use them.
        """
        if not self.present or self.kind not in SURROUNDINGS:
            return [None] * len(vectors)
        lookups, key = {} if lookups is None else lookups, id(self.surroundings)
        if key not in lookups:
            lookups[key] = self.surroundings.at(vectors)
        return [self._value(rows, scores, None) for rows, scores in zip(*lookups[key], strict=True)]

    def derive(self, value: Any) -> Any:
        """Compute the value (`rarest`, `rarity`) from a known or predicted value of the attribute named by `of`."""
        rank = self.source.rank
        known = sorted((v for v in _listed(value) if v in rank), key=lambda v: -rank[v])
        if not known:
            return None
        one_in = round(1 / self.source.share(known[0]))
        return known[: self.attribute.count] if self.kind == "rarest" else one_in if one_in > 1 else None

    def _value(self, rows: np.ndarray, scores: np.ndarray, row: int | None) -> Any:
        a = self.attribute
        if not len(rows):
            return None
        if self.kind == "neighbors":
            return [self.space.title(int(other)) for other in rows[: a.count]]
        if self.kind == "around":
            return self._typical(rows[: a.near])
        number = self._figure(rows[: a.near], scores[: a.near], row)
        return None if number is None else a.labels[int(np.searchsorted(self.edges, number, side="right"))]

    def _typical(self, rows: np.ndarray) -> list[str] | None:
        """Return the values that are more (or less) frequent among these rows than in the catalogue, best first."""
        counts = Counter(value for row in rows.tolist() for value in self._values_of(row))
        source, deviations = self.source, {}
        for value in counts if self.attribute.lean == "more" else source.vocabulary:
            share = source.share(value)
            gain = counts[value] - len(rows) * share
            spread = max(math.sqrt(len(rows) * share * (1.0 - share)), 1e-9)
            more = counts[value] >= FEWEST and gain > CHANCE * spread
            if more if self.attribute.lean == "more" else counts[value] < len(rows) * share / 2:
                deviations[value] = abs(gain) / spread
        return sorted(deviations, key=lambda value: (-deviations[value], value))[: self.attribute.count] or None

    def _values_of(self, row: int) -> list[str]:
        """Return the values of an entity, from a cache, since one entity is near many others."""
        if row not in self._values:
            if len(self._values) >= REMEMBERED:
                self._values.clear()
            self._values[row] = _listed(self.source.value(row))
        return self._values[row]

    def _figure(self, rows: np.ndarray, scores: np.ndarray, row: int | None) -> float | None:
        """Return the mean similarity of the surroundings, or a row's number minus the mean of theirs."""
        if self.kind == "density":
            return float(scores.mean())
        known = [n for n in (self._numeric(int(other)) for other in rows) if n is not None]
        own = None if row is None else self._numeric(row)
        return own - float(np.mean(known)) if own is not None and known else None

    def _numeric(self, row: int) -> float | None:
        raw = self._raw(row)
        return None if is_missing(raw) else self._number(raw, row)

    def prepare(self, rows: Iterable[int]) -> None:
        """Look up the surroundings of many rows at once."""
        if self.present and self.kind not in DERIVED:
            self.surroundings.prepare(rows)

    # ---- words

    @cached_property
    def edges(self) -> np.ndarray:
        """Boundaries between the bands: quantiles among sampled training entities."""
        train, bands = self.space.rows(TRAIN), len(self.attribute.labels)
        rows = [int(r) for r in train[np.linspace(0, len(train) - 1, min(len(train), SAMPLE)).astype(np.int64)]]
        self.surroundings.prepare(rows)
        figures = []
        for row in rows:
            near, scores = self.surroundings.of(row)
            figures.append(self._figure(near[: self.attribute.near], scores[: self.attribute.near], row))
        known = [figure for figure in figures if figure is not None]
        return np.quantile(known, np.arange(1, bands) / bands) if known else np.zeros(bands - 1)

    @cached_property
    def vocabulary(self) -> list[str]:
        """The labels, or the values of the attribute named by `of`."""
        if self.kind in ("density", "relative"):
            return list(self.attribute.labels) if self.present else []
        return self.source.vocabulary if self.attribute.of is not None else []

    def say(self, value: str) -> str:
        """Return one value as it is written in a text, by the rules of the attribute that it belongs to."""
        return self.source.say(value) if self.attribute.of is not None else value


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [] if value is None else [str(value)]


def bind(attributes: Mapping[str, Attribute], space: VectorSpace) -> dict[str, AttributeReader]:
    """Bind the attributes of a space to the space; each one gets access to the others."""
    readers: dict[str, AttributeReader] = {}
    shared: dict[Any, Surroundings] = {}
    # Attributes that use others come after the others.
    for name, attribute in sorted(attributes.items(), key=lambda item: item[1].kind in COMPUTED):
        computed = attribute.kind in COMPUTED
        readers[name] = (
            SpaceReader(name, attribute, space, readers, shared)
            if computed
            else AttributeReader(name, attribute, space)
        )
    for name, reader in readers.items():
        reader.apart = [r for r in readers.values() if r.attribute.of == name and r.attribute.within is not None]
    return {name: readers[name] for name in attributes}
