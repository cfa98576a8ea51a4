"""Held-out ratings: the behaviour that texts must predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import EvaluationError
from vectalk.readback.ridge import fit_ridge
from vectalk.reading.arrays import read_parquet
from vectalk.space import VectorSpace
from vectalk.space.factorization.rating_reader import read_ratings
from vectalk.space.factorization.ratings import hold_out
from vectalk.space.importing.tables import as_text
from vectalk.space.split import TRAIN

HELD_OUT = 0.2  # of the ratings in a file that was not divided
MOST_USERS = 2000  # for whom vectors are fitted
STRENGTHS = tuple(float(x) for x in np.logspace(-2, 4, 13))


@dataclass(frozen=True)
class Pairs:
    """Ratings [n]: rows of users, rows of items, values."""

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray

    def matrix(self, items: np.ndarray, users: np.ndarray) -> np.ndarray:
        """Return whether there is a rating [I, U] of these items (rows [I]) by these users (rows [U])."""
        at_item, at_user = (_places(rows, found) for rows, found in ((items, self.item), (users, self.user)))
        there = (at_item >= 0) & (at_user >= 0)
        found = np.zeros((len(items), len(users)), bool)
        found[at_item[there], at_user[there]] = True
        return found


@dataclass(frozen=True)
class Ratings:
    """Ratings that the vectors may know (`train`), and ratings that nothing has seen (`test`).

    Attributes:
        items: what the space of items is called in the corpus; None where the corpus lacks it.
        users: what the space of users is called in the corpus; None where the corpus lacks it.
        item_vectors: [I, D], row by row as in `train` and `test`.
        user_vectors: [U, D]; the product with an item's says how much the item is to the user's liking.
        train: what vectors, figures and texts may know.
        test: what was held out.
        source: where ratings and user vectors are from, in words.
    """

    items: str | None
    users: str | None
    item_vectors: np.ndarray
    user_vectors: np.ndarray
    train: Pairs
    test: Pairs
    source: str


def find_ratings(spaces: Mapping[str, VectorSpace], place: str | Path | None = None, seed: int = 0) -> Ratings | None:
    """Return the ratings of a corpus's spaces.

    Args:
        spaces: by name.
        place: a folder that `space factorize` made, or a file of ratings; `SPACE=PATH` says which space the items are,
            where that is not clear. When omitted, the folder above a space is looked into.
        seed: decides which ratings of a file are held out.

    Returns:
        None where there are none, or none were held out, and no place was named.

    Raises:
        EvaluationError: the place holds no ratings of these spaces, or none were held out.
    """
    if place is None:
        above = dict.fromkeys(space.path.parent for space in spaces.values() if space.path is not None)
        found = [r for folder in above if _is_factorized(folder) and (r := _factorized(folder, spaces)) is not None]
        return next((ratings for ratings in found if len(ratings.test.user)), None)
    name, sign, rest = str(place).partition("=")
    named, path = (name, Path(rest)) if sign and name in spaces else (None, Path(place))
    if not path.exists():
        raise EvaluationError(
            f"--ratings: {path} does not exist; give a folder of `space factorize`, or a file of ratings"
        )
    ratings = _factorized(path, spaces) if _is_factorized(path) else None
    ratings = _foreign(path, spaces, named, seed) if ratings is None else ratings
    if not len(ratings.test.user):
        raise EvaluationError(f"--ratings: no rating was held out in {path}; factorize with --holdout-ratings 0.2")
    return ratings


def read_part(folder: Path, part: str) -> pa.Table:
    """Return the ratings that a factorisation learned from (`train`) or held out (`test`): user, item, rating.

    Raises:
        EvaluationError: the file is missing or broken, or holds no ratings.
    """
    path = folder / f"ratings_{part}.parquet"
    table = read_parquet(path, ("user", "item", "rating"), error=EvaluationError)
    try:
        columns = {"user": as_text(table["user"]), "item": as_text(table["item"])}
        table = pa.table({**columns, "rating": table["rating"].cast(pa.float64())})
    except pa.ArrowException as error:
        raise EvaluationError(f"{path} holds no ratings: {error}") from None
    if (
        any(column.null_count for column in table.columns)
        or not pc.all(pc.is_finite(table["rating"]), min_count=0).as_py()
    ):
        raise EvaluationError(f"{path} holds no ratings: a user, an item or a rating is missing, or is no number")
    return table


def _is_factorized(folder: Path) -> bool:
    return all((folder / f"ratings_{part}.parquet").is_file() for part in ("train", "test"))


def _factorized(folder: Path, spaces: Mapping[str, VectorSpace]) -> Ratings | None:
    """Return the ratings that spaces of the corpus were factorised from, or None where these are others."""
    if not all((folder / side / "space.json").is_file() for side in ("items", "users")):
        return None
    items, users = (VectorSpace.load(folder / side) for side in ("items", "users"))
    known = {space.fingerprint: name for name, space in spaces.items()}
    if items.fingerprint not in known and users.fingerprint not in known:
        return None
    ids = users.column("id").combine_chunks(), items.column("id").combine_chunks()
    train, test = (_pairs(read_part(folder, part), *ids) for part in ("train", "test"))
    return Ratings(
        known.get(items.fingerprint),
        known.get(users.fingerprint),
        np.asarray(items.vectors, np.float32),
        np.asarray(users.vectors, np.float32),
        train,
        test,
        f"{folder}, users as factorised",
    )


def _foreign(path: Path, spaces: Mapping[str, VectorSpace], named: str | None, seed: int) -> Ratings:
    """Return ratings of a space whose vectors know nothing of them; the users' vectors are fitted."""
    if named is None and len(spaces) > 1:
        raise EvaluationError(
            f"--ratings: which of the spaces {', '.join(spaces)} holds the items of {path}? Say --ratings SPACE={path}"
        )
    name = named or next(iter(spaces))
    space = spaces[name]
    if _is_factorized(path):
        tables = [read_part(path, part) for part in ("train", "test")]
    else:
        table = read_ratings(path, feedback="implicit", rating="none")  # only who rated what counts here
        held = hold_out(table["user"].combine_chunks().dictionary_encode().indices.to_numpy(), HELD_OUT, seed)
        tables = [table.filter(pa.array(~held)), table.filter(pa.array(held))]
    ids = space.column("id").combine_chunks()
    tables = [table.filter(pc.is_in(as_text(table["item"]), value_set=ids)) for table in tables]
    users = pc.unique(as_text(tables[0]["user"])).sort()
    if len(users) < 2:
        raise EvaluationError(
            f"--ratings: items rated in {path} are not in space {name!r}: its ids look like {ids[0].as_py()!r}"
        )
    if len(users) > MOST_USERS:
        users = users.take(pa.array(np.sort(np.random.default_rng(seed).permutation(len(users))[:MOST_USERS])))
    train, test = (_pairs(table, users, ids) for table in tables)
    vectors = fit_users(space, train, len(users), seed)
    source = f"{path}, users fitted to training ratings of training items"
    return Ratings(name, None, np.asarray(space.vectors, np.float32), vectors, train, test, source)


def fit_users(space: VectorSpace, train: Pairs, users: int, seed: int = 0) -> np.ndarray:
    """Return vectors [U, D] of users by ridge regression, over training items, of whether each has rated an item.

    Who rated an item says more of what it is than how they rated it; test items take no part.
    """
    rows = space.rows(TRAIN)
    rated = train.matrix(rows, np.arange(users)).astype(np.float64)
    ridge = fit_ridge(np.asarray(space.vectors[rows]), rated, rows, strengths=STRENGTHS, seed=seed)
    return np.ascontiguousarray(ridge.weight.T)


def _pairs(table: pa.Table, users: pa.Array, items: pa.Array) -> Pairs:
    user, item = (
        pc.fill_null(pc.index_in(as_text(table[key]), value_set=ids), -1).to_numpy().astype(np.int64)
        for key, ids in (("user", users), ("item", items))
    )
    known = (user >= 0) & (item >= 0)
    return Pairs(user[known], item[known], table["rating"].to_numpy()[known])


def _places(rows: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return where each of `found` stands in `rows`, or -1."""
    if not len(rows) or not len(found):
        return np.full(len(found), -1)
    place = np.full(max(rows.max(), found.max()) + 1, -1)
    place[rows] = np.arange(len(rows))
    return place[found]
