"""Attributes that a space itself knows: what lies around an entity, how near, and how the entity differs from it."""

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
from vectalk.tasks.attributes import DERIVED, MADE, SURROUNDINGS, Attribute, AttributeReader, is_missing

REMEMBERED = 100_000  # entities whose surroundings are kept
SAMPLE = 2_000  # training entities whose surroundings decide where bands part
CHANCE = 2.0  # standard deviations above what chance would give, from which on a value belongs to the surroundings
FEWEST = 2  # of the surroundings must have a value before it is said of them


class Surroundings:
    """The nearest training entities of rows, looked up in bulk and kept.

    Args:
        space: the space.
        among: training rows to search.
        count: how many to find.
    """

    def __init__(self, space: VectorSpace, among: np.ndarray, count: int) -> None:
        self.space, self.among, self.count = space, among, count
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, vectors: np.ndarray, exclude: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and similarities [n, k], best first, of what lies nearest to vectors [n, D]."""
        space = self.space
        return nearest(vectors, space.vectors, self.count, space.metric, rows=self.among, exclude=exclude)

    def prepare(self, rows: Iterable[int]) -> None:
        """Look up many rows at once."""
        wanted = np.array([row for row in dict.fromkeys(rows) if row not in self._known], np.int64)
        if not len(wanted):
            return
        if len(self._known) + len(wanted) > REMEMBERED:
            self._known.clear()
        found = self.at(self.space.vectors[wanted], wanted)
        self._known.update((int(row), (near, score)) for row, near, score in zip(wanted, *found, strict=True))

    def of(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and similarities [k] of what lies nearest to a row; itself left out."""
        if row not in self._known:
            self.prepare([row])
        return self._known[row]


class SpaceReader(AttributeReader):
    """An attribute that is made from the space, or from another attribute, instead of a column of its own.

    Args:
        name: of the attribute.
        attribute: how it is made.
        space: the space.
        others: the other attributes of the space, which `of`, `where` and `without` name.
        shared: surroundings that several attributes look at, by their key.
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
        """The attribute whose values this one is about."""
        return self.others[str(self.attribute.of)]

    # ---- values

    @cached_property
    def surroundings(self) -> Surroundings:
        """The training entities that count, shared among the attributes that look at the same ones."""
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
        def has(name: str, wanted: str) -> bool:
            value = self.others[name].value(row)
            return wanted in value if isinstance(value, list) else value == wanted

        wanted, unwanted = self.attribute.where, self.attribute.without
        return all(has(*pair) for pair in wanted.items()) and not any(has(*pair) for pair in unwanted.items())

    def value(self, row: int) -> Any:
        """Return the value of a row, or None where there is nothing to say."""
        if not self.present:
            return None
        if self.kind in DERIVED:
            return self.derive(self.source.value(row))
        return self._value(*self.surroundings.of(row), row)

    def at(self, vectors: np.ndarray, found: dict[int, tuple[np.ndarray, np.ndarray]] | None = None) -> list[Any]:
        """Return the values at any vectors [n, D], for the kinds that the surroundings alone decide; else None.

        Args:
            vectors: the points.
            found: what was looked up for these vectors already; filled, for other attributes to share.
        """
        if not self.present or self.kind not in SURROUNDINGS:
            return [None] * len(vectors)
        found, place = {} if found is None else found, id(self.surroundings)
        if place not in found:
            found[place] = self.surroundings.at(vectors)
        return [self._value(rows, scores, None) for rows, scores in zip(*found[place], strict=True)]

    def derive(self, value: Any) -> Any:
        """Return what follows from a value of the attribute that this one is `of`, known or predicted."""
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
            return self._lean(rows[: a.near])
        number = self._figure(rows[: a.near], scores[: a.near], row)
        return None if number is None else a.labels[int(np.searchsorted(self.edges, number, side="right"))]

    def _lean(self, rows: np.ndarray) -> list[str] | None:
        """Return the values that these rows hold more (or less) often than others, the most telling first."""
        held = Counter(value for row in rows.tolist() for value in self._held(row))
        source, found = self.source, {}
        for value in held if self.attribute.lean == "more" else source.vocabulary:
            share = source.share(value)
            gain = held[value] - len(rows) * share
            spread = max(math.sqrt(len(rows) * share * (1.0 - share)), 1e-9)
            more = held[value] >= FEWEST and gain > CHANCE * spread
            if more if self.attribute.lean == "more" else held[value] < len(rows) * share / 2:
                found[value] = abs(gain) / spread
        return sorted(found, key=lambda value: (-found[value], value))[: self.attribute.count] or None

    def _held(self, row: int) -> list[str]:
        """Return the values that an entity has, kept: it lies near many others."""
        if row not in self._values:
            if len(self._values) >= REMEMBERED:
                self._values.clear()
            self._values[row] = _listed(self.source.value(row))
        return self._values[row]

    def _figure(self, rows: np.ndarray, scores: np.ndarray, row: int | None) -> float | None:
        """Return how near the surroundings are, or by how much a row's number lies above theirs."""
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
        """Quantiles of sampled training entities that part the bands."""
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
        """The labels, or the values of the attribute that this one is about."""
        if self.kind in ("density", "relative"):
            return list(self.attribute.labels) if self.present else []
        return self.source.vocabulary if self.attribute.of is not None else []

    def say(self, value: str) -> str:
        """Return how one value is written in a text: as the attribute that it belongs to says it."""
        return self.source.say(value) if self.attribute.of is not None else value


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [] if value is None else [str(value)]


def bind(attributes: Mapping[str, Attribute], space: VectorSpace) -> dict[str, AttributeReader]:
    """Bind the attributes of a space to it, each knowing the others that it is made from."""
    readers: dict[str, AttributeReader] = {}
    shared: dict[Any, Surroundings] = {}
    # Those that are made from others come after them.
    for name, attribute in sorted(attributes.items(), key=lambda item: item[1].kind in MADE):
        made = attribute.kind in MADE
        readers[name] = (
            SpaceReader(name, attribute, space, readers, shared) if made else AttributeReader(name, attribute, space)
        )
    for name, reader in readers.items():
        reader.apart = [r for r in readers.values() if r.attribute.of == name and r.attribute.within is not None]
    return {name: readers[name] for name in attributes}
