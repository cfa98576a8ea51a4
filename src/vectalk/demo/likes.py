"""Who likes these films? A visitor becomes a vector from a few titles, and the model says who that is."""

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

LIKED = 5.0  # the rating that a liked film counts as; implicit feedback looks only at which films there are
NEXT = 5


@dataclass(frozen=True)
class Visitor:
    """A person folded into the space of viewers.

    Attributes:
        liked: titles of the films given.
        point: the visitor's vector.
        genres: how many of the films have each genre, commonest first: what may be held against the answer.
        next: titles that the factor model puts first among the others.
    """

    liked: list[str]
    point: Point
    genres: list[tuple[str, int]]
    next: list[str]


def fold_in(films: VectorSpace, users: VectorSpace, titles: Sequence[str], settings: WalsConfig) -> Visitor:
    """Return the visitor who likes some films.

    Args:
        films: items of a factorisation.
        users: users of the same factorisation.
        titles: titles or ids, at least one.
        settings: those of the factorisation.

    Raises:
        SpaceError: no film is given, or one twice.
        UnknownEntityError: a film is not in the space; names the nearest titles.
    """
    rows = np.array([films.find(title) for title in titles], np.int64)
    if not len(rows) or len(set(rows.tolist())) < len(rows):
        raise SpaceError(f"name one or more different films that are liked, not {list(titles)}")
    items = np.asarray(films.vectors, np.float32)
    nobody = np.zeros((0, users.dim), np.float32)
    factors = Factors(items, nobody, np.zeros(len(items), np.float32), np.zeros(0, np.float32), 0.0, settings)
    vector = factors.fold_in(rows, np.full(len(rows), LIKED))
    names = [films.title(int(row)) for row in rows]
    scores = items @ vector
    scores[rows] = -np.inf
    genres = Counter(genre for row in rows for genre in films.metadata(int(row)).get("genres") or [])
    point = Point(vector, users, "whoever likes " + ", ".join(names))
    return Visitor(names, point, genres.most_common(), [films.title(int(row)) for row in np.argsort(-scores)[:NEXT]])


def who_likes(elm: ELM, data: Path, titles: Sequence[str], question: str) -> tuple[Visitor, Answer]:
    """Fold a visitor in and ask the model who that is."""
    settings = checked(read_json(data / "factors.json"), WalsConfig, data / "factors.json")
    visitor = fold_in(elm.spaces["film"], elm.spaces["user"], titles, settings)
    return visitor, elm.ask(question, {"user": visitor.point})
