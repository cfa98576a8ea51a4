"""Users of a factorisation, folded in from some of their ratings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from vectalk.files import read_json
from vectalk.space import VectorSpace
from vectalk.space.wals import Factors, WalsConfig


@dataclass(frozen=True)
class RatingsOf:
    """The training ratings behind a space of users, and what folds new users in.

    Attributes:
        factors: items and biases of the factorisation.
        given: user id -> (item rows [n], ratings [n]).
    """

    factors: Factors
    given: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def space(cls, users: VectorSpace) -> RatingsOf | None:
        """Return the ratings beside a space of users that `vectalk space factorize` made; None for any other."""
        if users.path is None or users.path.resolve().name != "users":
            return None
        folder = users.path.resolve().parent
        if not (folder / "factors.json").is_file() or not (folder / "ratings_train.parquet").is_file():
            return None
        items, card = VectorSpace.load(folder / "items"), read_json(folder / "factors.json")
        config = WalsConfig(**{name: card[name] for name in WalsConfig.__dataclass_fields__ if name in card})
        with np.load(folder / "biases.npz") as biases:
            factors = Factors(
                np.asarray(items.vectors),
                np.asarray(users.vectors),
                biases["item"],
                biases["user"],
                float(biases["mean"]),
                config,
            )
        table = pq.read_table(folder / "ratings_train.parquet")
        place = {name: row for row, name in enumerate(items.column("id").to_pylist())}
        found: dict[str, tuple[list[int], list[float]]] = {}
        for user, item, rating in zip(*(table[c].to_pylist() for c in ("user", "item", "rating")), strict=True):
            if item in place:
                mine = found.setdefault(user, ([], []))
                mine[0].append(place[item])
                mine[1].append(rating)
        return cls(factors, {user: (np.array(i), np.array(r)) for user, (i, r) in found.items()})

    def of(self, users: VectorSpace, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return item rows and ratings [n] of a user."""
        return self.given.get(users.column("id")[row].as_py(), (np.zeros(0, np.int64), np.zeros(0)))


def folded(
    ratings: RatingsOf, users: VectorSpace, rows: Sequence[int] | np.ndarray, orders: Sequence[np.ndarray], count: int
) -> np.ndarray:
    """Return the vectors [n, D] of users who are known by the first `count` of their ratings in some order."""
    vectors = []
    for row, order in zip(rows, orders, strict=True):
        items, given = ratings.of(users, int(row))
        vectors.append(ratings.factors.fold_in(items[order[:count]], given[order[:count]]))
    return np.stack(vectors)
