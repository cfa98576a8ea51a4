"""Cold start: profiles of test users whose vectors are computed from only a few of their ratings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.curves.subject import Row, Subject
from vectalk.evaluation.metrics.behaviour import auc
from vectalk.evaluation.metrics.bootstrap import difference, mean_of
from vectalk.evaluation.metrics.profiles import POPULARITY, TOP, ndcg
from vectalk.evaluation.metrics.rows import cosines, sample_f1
from vectalk.evaluation.ratings import Ratings, read_part
from vectalk.files import read_json
from vectalk.reading.arrays import check_array
from vectalk.reading.cards import checked
from vectalk.space import VectorSpace
from vectalk.space.factorization.wals import Factors, WalsConfig
from vectalk.space.split import TEST

COUNTS = (1, 2, 5, 10, 20, 50)  # numbers of ratings that the vector of a user is computed from
VECTOR = "vector"  # the folded-in vector itself, without a text


@dataclass(frozen=True)
class RatingsOf:
    """The training ratings of a space of users, and the factors that fold in new users.

    Attributes:
        factors: item vectors and biases of the factorisation.
        by_user: user id -> (item rows [n], ratings [n]).
    """

    factors: Factors
    by_user: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def space(cls, users: VectorSpace) -> RatingsOf | None:
        """Return the ratings of a space of users that `vectalk space factorize` wrote; None for any other space."""
        if users.path is None or users.path.resolve().name != "users":
            return None
        folder = users.path.resolve().parent
        if not (folder / "factors.json").is_file() or not (folder / "ratings_train.parquet").is_file():
            return None
        items, card = VectorSpace.load(folder / "items"), folder / "factors.json"
        config = checked(read_json(card, EvaluationError), WalsConfig, card, EvaluationError)
        if items.dim != users.dim:
            raise EvaluationError(f"{folder}: items have {items.dim} dimensions, users {users.dim}; factorize again")
        biases = _biases(folder / "biases.npz", len(items), len(users))
        vectors = np.asarray(items.vectors), np.asarray(users.vectors)
        factors = Factors(*vectors, biases["item"], biases["user"], float(biases["mean"]), config)
        table = read_part(folder, "train")
        place = {name: row for row, name in enumerate(items.column("id").to_pylist())}
        by_user: dict[str, tuple[list[int], list[float]]] = {}
        for user, item, rating in zip(*(table[c].to_pylist() for c in ("user", "item", "rating")), strict=True):
            if item in place:
                rows, ratings = by_user.setdefault(user, ([], []))
                rows.append(place[item])
                ratings.append(rating)
        return cls(factors, {user: (np.array(i), np.array(r)) for user, (i, r) in by_user.items()})

    def of(self, users: VectorSpace, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the item rows [n] and the ratings [n] of the user in a row of the space."""
        return self.by_user.get(users.column("id")[row].as_py(), (np.zeros(0, np.int64), np.zeros(0)))


def _biases(path: Path, items: int, users: int) -> dict[str, np.ndarray]:
    """Read the biases of a factorisation, and check their lengths: one bias for each item and each user."""
    try:
        with np.load(path) as file:
            biases = {name: np.asarray(file[name]) for name in ("item", "user", "mean")}
    except Exception as error:  # numpy passes on any error of its header parser
        raise EvaluationError(f"{path} cannot be read: {error!r}; run `vectalk space factorize` again") from None
    for name, shape in (("item", (items,)), ("user", (users,)), ("mean", ())):
        check_array(biases[name], shape, f"{path}: {name}", EvaluationError)
    return biases


def folded(
    ratings: RatingsOf, users: VectorSpace, rows: Sequence[int] | np.ndarray, orders: Sequence[np.ndarray], count: int
) -> np.ndarray:
    """Return vectors [n, D] of users (rows [n]), computed from the first `count` ratings in the order of each user."""
    vectors = []
    for row, order in zip(rows, orders, strict=True):
        items, values = ratings.of(users, int(row))
        vectors.append(ratings.factors.fold_in(items[order[:count]], values[order[:count]]))
    return np.stack(vectors)


def cold_start(
    one: Subject, ratings: RatingsOf, users: int, held_out: Ratings | None = None
) -> tuple[list[Row], list[str]]:
    """Compute vectors of test users from their first ratings, ask for profiles, and score the profiles.

    Metrics: `sc` is the consistency of the profile with the user's own vector, which comes from all training ratings.
    `cosine` is the cosine of the folded-in vector with the own vector. `score/x` is the F1 or the accuracy of attribute
    x. With held-out ratings, the vector that the profile reads back as also predicts behaviour: `bc_auc` measures how
    well it separates items with a held-out rating from items that the user never rated, and `bc_ndcg@10` how well it
    ranks the items with a held-out rating. The condition `popularity` ranks items by their number of ratings, the same
    for all users; `bc_auc_minus_popularity` is the difference to it. At the last point of each curve `x` is null: it
    uses the user's own vector.

    Args:
        one: the task about users.
        ratings: training ratings of the space of users.
        users: number of test users.
        held_out: held-out ratings; None if there are none.

    Returns:
        The rows of the curves, and notes on what was not run.
    """
    rng, rows = np.random.default_rng(one.seed), []
    enough = [row for row in one.space.rows(TEST) if len(ratings.of(one.space, int(row))[0]) >= COUNTS[-1]]
    sample = rng.permutation(enough)[:users]
    if len(sample) < 2:
        enough_users = f"{len(sample)} test users of {one.space.name!r} have {COUNTS[-1]} or more ratings"
        return [], [f"cold_start: {enough_users}; 2 are needed"]
    own = np.asarray(one.space.vectors[sample], np.float32)
    orders = [rng.permutation(len(ratings.of(one.space, int(row))[0])) for row in sample]
    behaviour = None if held_out is None else Behaviour.of(held_out, sample)
    names = [one.space.title(int(row)) for row in sample]
    for count in (*COUNTS, None):
        vectors = own if count is None else folded(ratings, one.space, sample, orders, count)
        x: Any = count
        texts_of = {"elm": one.ask(vectors, f"{count or 'all'} ratings"), "copy_text": one.copy(vectors)}
        for condition, texts in texts_of.items():
            sc = one.consistency(texts, own)
            one.record("cold_start", condition, x, names, vectors, texts, sc)
            rows.append(one.row("cold_start", "sc", condition, x, sc))
            for name, reader in one.readers.items():
                if reader.kind == "number":
                    continue
                true = [reader.value(int(row)) for row in sample]
                scores = [_score(reader.read(text), value) for text, value in zip(texts, true, strict=True)]
                rows.append(one.row("cold_start", f"score/{name}", condition, x, np.array(scores)))
        centre = one.space.normalizer.mean
        rows.append(one.row("cold_start", "cosine", VECTOR, x, cosines(vectors - centre, own - centre)))
        rows += one.supported("cold_start", "elm", x, vectors, None)
        if behaviour is not None:
            read = {condition: one.readback(texts) for condition, texts in texts_of.items()}
            rows += behaviour.rows(one, {**read, VECTOR: vectors}, x)
    return rows, [] if behaviour is not None else [
        "cold_start: no behaviour metrics, because there are no held-out ratings"
    ]


@dataclass(frozen=True)
class Behaviour:
    """The held-out behaviour of n users.

    Attributes:
        items: [I, D] vectors of the items.
        popularity: [I] number of training ratings of each item.
        held: [n, I] True where the user's rating of the item is held out.
        unrated: [n, I] True where the user never rated the item.
        gains: for each user the rows [m] of the items with held-out ratings, and their gains [m] for the NDCG.
    """

    items: np.ndarray
    popularity: np.ndarray
    held: np.ndarray
    unrated: np.ndarray
    gains: list[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, ratings: Ratings, users: np.ndarray) -> Behaviour:
        """Return the behaviour of users (rows [n] of their space)."""
        every = np.arange(len(ratings.item_vectors))
        held, seen = (part.matrix(every, users).T for part in (ratings.test, ratings.train))
        gains = []
        for user in users:
            own = ratings.test.user == user
            gains.append((ratings.test.item[own], 2.0 ** ratings.test.rating[own] - 1))
        popularity = np.bincount(ratings.train.item, minlength=len(every)).astype(float)
        return cls(ratings.item_vectors, popularity, held, ~held & ~seen, gains)

    def rows(self, one: Subject, vectors: dict[str, np.ndarray], x: Any) -> list[Row]:
        """Return the rows of the behaviour metrics, and of their differences to popularity.

        Args:
            one: the task about users.
            vectors: condition -> vectors [n, D] that predict the behaviour.
            x: number of ratings that the vectors come from; None for all ratings.
        """
        scores = {condition: users @ self.items.T for condition, users in vectors.items()}
        scores[POPULARITY] = np.tile(self.popularity, (len(self.held), 1))
        rows = []
        for metric, of in (("bc_auc", self._auc), (f"bc_ndcg@{TOP}", self._ndcg)):
            each = {condition: np.array([of(i, s[i]) for i in range(len(s))]) for condition, s in scores.items()}
            for condition, values in each.items():
                rows.append(one.row("cold_start", metric, condition, x, values))
                if condition != POPULARITY and np.isfinite(values).any():
                    both = [mean_of(values), mean_of(each[POPULARITY])]
                    gap = one.joint(len(values), both, difference)
                    rows.append(one.figure("cold_start", f"{metric}_minus_popularity", condition, x, gap))
        return rows

    def _auc(self, user: int, scores: np.ndarray) -> float:
        held, unrated = self.held[user], self.unrated[user]
        return auc(scores[held], scores[unrated]) if held.any() and unrated.any() else float("nan")

    def _ndcg(self, user: int, scores: np.ndarray) -> float:
        items, gains = self.gains[user]
        return ndcg(gains, scores[items]) if len(np.unique(gains)) > 1 else float("nan")


def crossings(rows: list[Row]) -> list[dict[str, Any]]:
    """Return for each condition the number of ratings from which it stays above popularity.

    `above`: from this number on, the difference is above zero. `surely`: from this number on, the lower end of its
    interval is above zero. None if there is no such number; "all" if only the vector of all ratings is above.
    """
    crossing_rows = []
    gaps = [r for r in rows if r["curve"] == "cold_start" and r["metric"].endswith("_minus_popularity")]
    for space, task, metric, condition in dict.fromkeys(
        (r["space"], r["task"], r["metric"], r["condition"]) for r in gaps
    ):
        mine = [
            r for r in gaps if (r["space"], r["task"], r["metric"], r["condition"]) == (space, task, metric, condition)
        ]
        ends = {}
        for name, column in (("above", "value"), ("surely", "low")):
            over = [r[column] is not None and r[column] > 0 for r in mine]
            # All later points must be above too: a single point may be above by chance.
            at = next((i for i in range(len(over)) if all(over[i:])), None)
            ends[name] = None if at is None else "all" if mine[at]["x"] is None else mine[at]["x"]
        metric = metric.removesuffix("_minus_popularity")
        crossing_rows.append({"space": space, "task": task, "metric": metric, "condition": condition, **ends})
    return crossing_rows


def _score(stated: Any, true: Any) -> float:
    if true is None:
        return float("nan")
    return sample_f1(stated, true) if isinstance(true, list) else float(stated == true)
