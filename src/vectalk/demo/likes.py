"""Who likes these films? A few liked films give the vector of a viewer, and the model describes this viewer."""

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
from vectalk.talk import ELM, Answer

LIKED = 5.0  # rating of a liked film; implicit feedback ignores the value
NEXT = 5  # number of recommended titles


@dataclass(frozen=True)
class Visitor:
    """A person whose vector in the space of viewers comes from a few liked films.

    Attributes:
        liked: titles of the liked films.
        point: the visitor's vector.
        genres: genre -> number of the liked films with it, most frequent first; the answer can be checked against it.
        next: titles that the factor model ranks first among the other films.
    """

    liked: list[str]
    point: Point
    genres: list[tuple[str, int]]
    next: list[str]


def fold_in(films: VectorSpace, users: VectorSpace, titles: Sequence[str], settings: WalsConfig) -> Visitor:
    """Compute the visitor who likes some films.

    Args:
        films: space of the items of a factorisation.
        users: space of the users of the same factorisation.
        titles: titles or ids of the liked films, at least one.
        settings: settings of the factorisation.

    Raises:
        SpaceError: `titles` is empty, or names a film twice.
        UnknownEntityError: a film is not in the space; the error names the closest titles.
    """
    rows = np.array([films.find(title) for title in titles], np.int64)
    if not len(rows) or len(set(rows.tolist())) < len(rows):
        raise SpaceError(f"the liked films must be one or more different films, not {list(titles)}")
    items = np.asarray(films.vectors, np.float32)
    no_users = np.zeros((0, users.dim), np.float32)
    factors = Factors(items, no_users, np.zeros(len(items), np.float32), np.zeros(0, np.float32), 0.0, settings)
    vector = factors.fold_in(rows, np.full(len(rows), LIKED))
    names = [films.title(int(row)) for row in rows]
    scores = items @ vector
    scores[rows] = -np.inf
    genres = Counter(genre for row in rows for genre in films.metadata(int(row)).get("genres") or [])
    point = Point(vector, users, "a viewer who likes " + ", ".join(names))
    return Visitor(names, point, genres.most_common(), [films.title(int(row)) for row in np.argsort(-scores)[:NEXT]])


def who_likes(elm: ELM, data: Path, titles: Sequence[str], question: str) -> tuple[Visitor, Answer]:
    """Compute the visitor who likes some films, and ask the model about the visitor."""
    settings = checked(read_json(data / "factors.json"), WalsConfig, data / "factors.json")
    visitor = fold_in(elm.spaces["film"], elm.spaces["user"], titles, settings)
    return visitor, elm.ask(question, {"user": visitor.point})
