"""Ratings of items by users. The held-out ratings are the behaviour that texts must predict."""

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

HELD_OUT = 0.2  # share of the ratings that is held out, if the file has no split
MOST_USERS = 2000  # most users for whom vectors are fitted
STRENGTHS = tuple(float(x) for x in np.logspace(-2, 4, 13))


@dataclass(frozen=True)
class Pairs:
    """n ratings: the rows of the users [n], the rows of the items [n], and the values [n]."""

    user: np.ndarray
    item: np.ndarray
    rating: np.ndarray

    def matrix(self, items: np.ndarray, users: np.ndarray) -> np.ndarray:
        """Return a matrix [I, U]: True where the item (rows [I]) has a rating by the user (rows [U])."""
        at_item, at_user = (_places(rows, values) for rows, values in ((items, self.item), (users, self.user)))
        present = (at_item >= 0) & (at_user >= 0)
        rated = np.zeros((len(items), len(users)), bool)
        rated[at_item[present], at_user[present]] = True
        return rated


@dataclass(frozen=True)
class Ratings:
    """Training ratings, which the vectors may contain, and held-out ratings, which nothing was fitted to.

    Attributes:
        items: name of the space of items in the corpus; None if the corpus has no such space.
        users: name of the space of users in the corpus; None if the corpus has no such space.
        item_vectors: [I, D] vectors of the items; `train` and `test` refer to their rows.
        user_vectors: [U, D] vectors of the users. The product with the vector of an item predicts the preference.
        train: training ratings; vectors, metrics and texts may use them.
        test: held-out ratings.
        source: description of where the ratings and the user vectors come from.
    """

    items: str | None
    users: str | None
    item_vectors: np.ndarray
    user_vectors: np.ndarray
    train: Pairs
    test: Pairs
    source: str


def find_ratings(spaces: Mapping[str, VectorSpace], place: str | Path | None = None, seed: int = 0) -> Ratings | None:
    """Return the ratings that belong to the spaces of a corpus.

    Args:
        spaces: name -> space.
        place: a folder that `space factorize` wrote, or a file of ratings. `SPACE=PATH` names the space of the items
            if the corpus has several spaces. When omitted, the function looks in the parent folder of each space.
        seed: seed of the choice of held-out ratings in a file without a split.

    Returns:
        The ratings. None if `place` is omitted and no parent folder has held-out ratings.

    Raises:
        EvaluationError: `place` has no ratings of these spaces, or no held-out ratings.
    """
    if place is None:
        above = dict.fromkeys(space.path.parent for space in spaces.values() if space.path is not None)
        candidates = [_factorized(folder, spaces) for folder in above if _is_factorized(folder)]
        return next((ratings for ratings in candidates if ratings is not None and len(ratings.test.user)), None)
    name, sign, rest = str(place).partition("=")
    named, path = (name, Path(rest)) if sign and name in spaces else (None, Path(place))
    if not path.exists():
        raise EvaluationError(
            f"--ratings: {path} does not exist; name a folder of `vectalk space factorize`, or a file of ratings"
        )
    ratings = _factorized(path, spaces) if _is_factorized(path) else None
    ratings = _with_fitted_users(path, spaces, named, seed) if ratings is None else ratings
    if not len(ratings.test.user):
        raise EvaluationError(f"--ratings: {path} has no held-out ratings; factorize again with --holdout-ratings 0.2")
    return ratings


def read_part(folder: Path, part: str) -> pa.Table:
    """Return the training ratings (`train`) or the held-out ratings (`test`) of a factorisation: user, item, rating.

    Raises:
        EvaluationError: the file is missing or damaged, or a rating in it is not valid.
    """
    path = folder / f"ratings_{part}.parquet"
    table = read_parquet(path, ("user", "item", "rating"), error=EvaluationError)
    try:
        columns = {"user": as_text(table["user"]), "item": as_text(table["item"])}
        table = pa.table({**columns, "rating": table["rating"].cast(pa.float64())})
    except pa.ArrowException as error:
        raise EvaluationError(f"{path} has no valid ratings: {error}") from None
    if (
        any(column.null_count for column in table.columns)
        or not pc.all(pc.is_finite(table["rating"]), min_count=0).as_py()
    ):
        raise EvaluationError(f"{path} has no valid ratings: a value is missing, or a rating is not a finite number")
    return table


def _is_factorized(folder: Path) -> bool:
    return all((folder / f"ratings_{part}.parquet").is_file() for part in ("train", "test"))


def _factorized(folder: Path, spaces: Mapping[str, VectorSpace]) -> Ratings | None:
    """Return the ratings of a factorisation, or None if no space of the corpus comes from this factorisation."""
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


def _with_fitted_users(path: Path, spaces: Mapping[str, VectorSpace], named: str | None, seed: int) -> Ratings:
    """Return ratings of a space whose vectors do not come from these ratings; fit vectors for the users."""
    if named is None and len(spaces) > 1:
        raise EvaluationError(
            f"--ratings: which of the spaces {', '.join(spaces)} has the items of {path}? Pass --ratings SPACE={path}"
        )
    name = named or next(iter(spaces))
    space = spaces[name]
    if _is_factorized(path):
        tables = [read_part(path, part) for part in ("train", "test")]
    else:
        table = read_ratings(path, feedback="implicit", rating="none")  # only the pairs of user and item are used
        held = hold_out(table["user"].combine_chunks().dictionary_encode().indices.to_numpy(), HELD_OUT, seed)
        tables = [table.filter(pa.array(~held)), table.filter(pa.array(held))]
    ids = space.column("id").combine_chunks()
    tables = [table.filter(pc.is_in(as_text(table["item"]), value_set=ids)) for table in tables]
    users = pc.unique(as_text(tables[0]["user"])).sort()
    if len(users) < 2:
        raise EvaluationError(
            f"--ratings: {path} has ratings of items of space {name!r} by {len(users)} users; 2 are needed. "
            f"Its items must be ids of this space, such as {ids[0].as_py()!r}"
        )
    if len(users) > MOST_USERS:
        users = users.take(pa.array(np.sort(np.random.default_rng(seed).permutation(len(users))[:MOST_USERS])))
    train, test = (_pairs(table, users, ids) for table in tables)
    vectors = fit_users(space, train, len(users), seed)
    source = f"{path}, users fitted to training ratings of training items"
    return Ratings(name, None, np.asarray(space.vectors, np.float32), vectors, train, test, source)


def fit_users(space: VectorSpace, train: Pairs, users: int, seed: int = 0) -> np.ndarray:
    """Fit a vector for each user and return the vectors [U, D].

    A ridge regression over the training items predicts which items the user rated. It ignores the values of the
    ratings, because the set of raters describes an item better than their ratings do.
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


def _places(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the position of each value in `rows`, or -1 if the value is not in `rows`."""
    if not len(rows) or not len(values):
        return np.full(len(values), -1)
    place = np.full(max(rows.max(), values.max()) + 1, -1)
    place[rows] = np.arange(len(rows))
    return place[values]
