"""Users who are hardly known: folded in from some of their ratings, asked about, and judged by all of them."""

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

COUNTS = (1, 2, 5, 10, 20, 50)  # ratings that a user is folded in from
VECTOR = "vector"  # the folded vector itself, without a text between


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
        items, card = VectorSpace.load(folder / "items"), folder / "factors.json"
        config = checked(read_json(card, EvaluationError), WalsConfig, card, EvaluationError)
        if items.dim != users.dim:
            raise EvaluationError(f"{folder}: items have {items.dim} dimensions, users {users.dim}; factorize again")
        biases = _biases(folder / "biases.npz", len(items), len(users))
        vectors = np.asarray(items.vectors), np.asarray(users.vectors)
        factors = Factors(*vectors, biases["item"], biases["user"], float(biases["mean"]), config)
        table = read_part(folder, "train")
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


def _biases(path: Path, items: int, users: int) -> dict[str, np.ndarray]:
    """Read the biases of a factorisation of so many items and users."""
    try:
        with np.load(path) as file:
            found = {name: np.asarray(file[name]) for name in ("item", "user", "mean")}
    except Exception as error:  # numpy lets through what its parser of headers raises
        raise EvaluationError(f"{path} cannot be read: {error!r}; factorize again") from None
    for name, shape in (("item", (items,)), ("user", (users,)), ("mean", ())):
        check_array(found[name], shape, f"{path}: {name}", EvaluationError)
    return found


def folded(
    ratings: RatingsOf, users: VectorSpace, rows: Sequence[int] | np.ndarray, orders: Sequence[np.ndarray], count: int
) -> np.ndarray:
    """Return the vectors [n, D] of users who are known by the first `count` of their ratings in some order."""
    vectors = []
    for row, order in zip(rows, orders, strict=True):
        items, given = ratings.of(users, int(row))
        vectors.append(ratings.factors.fold_in(items[order[:count]], given[order[:count]]))
    return np.stack(vectors)


def cold_start(
    one: Subject, ratings: RatingsOf, users: int, held_out: Ratings | None = None
) -> tuple[list[Row], list[str]]:
    """Fold test users in from their first ratings alone, and judge the profiles by all that is known of them.

    `sc`: consistency with the vector of all training ratings; `cosine`: of the folded vector with that one; `score/x`:
    F1 or accuracy of attribute x. With held-out ratings also what the profile, read back, predicts: `bc_auc` parts the
    items of held-out ratings from items never rated, `bc_ndcg@10` ranks the former; beside it the condition
    `popularity`, which knows no user, and `bc_auc_minus_popularity`. The last x of each curve, with all ratings, is the
    user's own vector (`x` is null).

    Returns:
        The rows, and notes on what was not run.
    """
    rng, rows = np.random.default_rng(one.seed), []
    enough = [row for row in one.space.rows(TEST) if len(ratings.of(one.space, int(row))[0]) >= COUNTS[-1]]
    chosen = rng.permutation(enough)[:users]
    if len(chosen) < 2:
        return [], [f"cold_start: {len(chosen)} test users of {one.space.name!r} have {COUNTS[-1]} ratings or more"]
    own = np.asarray(one.space.vectors[chosen], np.float32)
    orders = [rng.permutation(len(ratings.of(one.space, int(row))[0])) for row in chosen]
    behaviour = None if held_out is None else Behaviour.of(held_out, chosen)
    names = [one.space.title(int(row)) for row in chosen]
    for count in (*COUNTS, None):
        vectors = own if count is None else folded(ratings, one.space, chosen, orders, count)
        x: Any = count
        said = {"elm": one.ask(vectors, f"{count or 'all'} ratings"), "copy_text": one.copy(vectors)}
        for condition, texts in said.items():
            found = one.consistency(texts, own)
            one.record("cold_start", condition, x, names, vectors, texts, found)
            rows.append(one.row("cold_start", "sc", condition, x, found))
            for name, reader in one.readers.items():
                if reader.kind == "number":
                    continue
                true = [reader.value(int(row)) for row in chosen]
                scores = [_score(reader.read(text), value) for text, value in zip(texts, true, strict=True)]
                rows.append(one.row("cold_start", f"score/{name}", condition, x, np.array(scores)))
        centre = one.space.normalizer.mean
        rows.append(one.row("cold_start", "cosine", VECTOR, x, cosines(vectors - centre, own - centre)))
        rows += one.supported("cold_start", "elm", x, vectors, None)
        if behaviour is not None:
            read = {condition: one.readback(texts) for condition, texts in said.items()}
            rows += behaviour.rows(one, {**read, VECTOR: vectors}, x)
    return rows, [] if behaviour is not None else ["cold_start: no held-out ratings, so no behaviour and no popularity"]


@dataclass(frozen=True)
class Behaviour:
    """What users did that nothing has seen.

    Attributes:
        items: [I, D] vectors.
        popularity: [I] training ratings of each item.
        held: [n, I] whether the user's rating of the item was held out.
        unrated: [n, I] whether the user never rated the item.
        gains: for each user the held-out items and what ranking them first is worth.
    """

    items: np.ndarray
    popularity: np.ndarray
    held: np.ndarray
    unrated: np.ndarray
    gains: list[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, ratings: Ratings, users: np.ndarray) -> Behaviour:
        """Return the behaviour of users, rows of the space."""
        every = np.arange(len(ratings.item_vectors))
        held, seen = (part.matrix(every, users).T for part in (ratings.test, ratings.train))
        gains = []
        for user in users:
            own = ratings.test.user == user
            gains.append((ratings.test.item[own], 2.0 ** ratings.test.rating[own] - 1))
        popularity = np.bincount(ratings.train.item, minlength=len(every)).astype(float)
        return cls(ratings.item_vectors, popularity, held, ~held & ~seen, gains)

    def rows(self, one: Subject, vectors: dict[str, np.ndarray], x: Any) -> list[Row]:
        """Return the rows of what vectors [n, D] predict, and how much that is above popularity."""
        scores = {condition: found @ self.items.T for condition, found in vectors.items()}
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
    """Return from how many ratings on each condition lies above popularity, and from how many it surely does.

    None where it never does; "all" where all ratings are needed.
    """
    found = []
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
            # From there on, not once by chance.
            at = next((i for i in range(len(over)) if all(over[i:])), None)
            ends[name] = None if at is None else "all" if mine[at]["x"] is None else mine[at]["x"]
        metric = metric.removesuffix("_minus_popularity")
        found.append({"space": space, "task": task, "metric": metric, "condition": condition, **ends})
    return found


def _score(said: Any, true: Any) -> float:
    if true is None:
        return float("nan")
    return sample_f1(said, true) if isinstance(true, list) else float(said == true)
