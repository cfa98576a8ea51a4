"""Who likes these items? A visitor becomes a user vector from a few titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vectalk.errors import SpaceError
from vectalk.files import read_json
from vectalk.reading.cards import checked
from vectalk.space import Point, VectorSpace
from vectalk.space.factorization.wals import Factors, WalsConfig

SETTINGS = "factors.json"  # of a factorisation, beside its spaces
LIKED = 5.0  # the rating that a liked item counts as; implicit feedback looks only at which items there are
NEXT = 5


@dataclass(frozen=True)
class Visitor:
    """A person folded into the space of users.

    Attributes:
        liked: titles of the liked items.
        point: the visitor's vector.
        genres: how many of the items have each genre, commonest first: what may be held against the answer.
        next: titles that the factor model puts first among the others.
        next_rows: their rows.
    """

    liked: list[str]
    point: Point
    genres: list[tuple[str, int]]
    next: list[str]
    next_rows: list[int]


def read_settings(folder: Path) -> WalsConfig:
    """Return the settings of the factorisation in a folder."""
    return checked(read_json(folder / SETTINGS), WalsConfig, folder / SETTINGS)


def fold_in(items: VectorSpace, users: VectorSpace, titles: Sequence[str], settings: WalsConfig) -> Visitor:
    """Return the visitor who likes some items.

    Args:
        items: items of a factorisation.
        users: users of the same factorisation.
        titles: titles or ids, at least one.
        settings: those of the factorisation.

    Raises:
        SpaceError: no item is given, or one twice.
        UnknownEntityError: an item is not in the space; names the nearest titles.
    """
    rows = np.array([items.find(title) for title in titles], np.int64)
    if not len(rows) or len(set(rows.tolist())) < len(rows):
        raise SpaceError(f"name one or more different items that are liked, not {list(titles)}")
    vectors = np.asarray(items.vectors, np.float32)
    nobody = np.zeros((0, users.dim), np.float32)
    factors = Factors(vectors, nobody, np.zeros(len(vectors), np.float32), np.zeros(0, np.float32), 0.0, settings)
    vector = factors.fold_in(rows, np.full(len(rows), LIKED))
    names = [items.title(int(row)) for row in rows]
    scores = vectors @ vector
    scores[rows] = -np.inf
    genres = Counter(genre for row in rows for genre in items.metadata(int(row)).get("genres") or [])
    point = Point(vector, users, "whoever likes " + ", ".join(names))
    following = [int(row) for row in np.argsort(-scores)[:NEXT] if np.isfinite(scores[row])]
    return Visitor(names, point, genres.most_common(), [items.title(row) for row in following], following)
