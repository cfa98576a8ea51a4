"""Behavioural consistency, in worlds where it is known why anybody rates anything."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr

from vectalk.errors import EvaluationError
from vectalk.evaluation.conditions import derangement
from vectalk.evaluation.metrics.behaviour import auc, item_behaviour
from vectalk.evaluation.metrics.profiles import ItemTexts, ndcg, spearman, user_behaviour
from vectalk.evaluation.ratings import Pairs, Ratings, find_ratings
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.space import VectorSpace
from vectalk.space.factorization.ratings import factorize, hold_out
from vectalk.space.factorization.wals import WalsConfig
from vectalk.tasks import Example, Task

ITEMS, USERS, DIM = 240, 160, 4


def world(taste: float = 3.0, fame: float = 0.0, seed: int = 0) -> Ratings:
    """Who rates what, and how highly, is a matter of taste (vectors) and of fame (the same for all)."""
    rng = np.random.default_rng(seed)
    items, users = rng.standard_normal((ITEMS, DIM)), rng.standard_normal((USERS, DIM))
    liking = taste * users @ items.T / DIM**0.5 + fame * rng.standard_normal(ITEMS)
    rated = rng.random(liking.shape) < 1 / (1 + np.exp(2 - liking))
    user, item = np.nonzero(rated)
    stars = np.clip(np.round(3 + 0.6 * liking[rated]), 0, 5)
    held = hold_out(user, 0.3, seed)
    train, test = (Pairs(user[mask], item[mask], stars[mask]) for mask in (~held, held))
    vectors = items.astype(np.float32), users.astype(np.float32)
    return Ratings("film", "user", *vectors, train, test, "invented")


def asked(slot: str, rows: np.ndarray) -> TaskTexts:
    task = Task(name="t", slots={slot: slot}, prompts=[f"What of {{{slot}}}?"], about=slot)
    examples = [Example("t", task.prompts[0], {slot: (slot, int(row))}, "", "test", "facts") for row in rows]
    return TaskTexts(None, task, examples, {}, seed=0)  # type: ignore[arg-type]


def value(figures: list[Figure], metric: str, condition: str) -> float:
    (found,) = [estimate.value for m, c, estimate in figures if (m, c) == (metric, condition)]
    assert found is not None
    return found


# ---- items


@pytest.fixture(scope="module")
def of_items() -> list[Figure]:
    ratings, rows = world(), np.arange(100)
    right, mean = ratings.item_vectors[rows], ratings.item_vectors.mean(0)
    noisy = right + np.random.default_rng(1).standard_normal(right.shape)
    found = {
        "elm": mean + 3 * (right - mean),  # a text that tells all; how loud it is does not matter
        "shuffled": right[derangement(len(rows), 0)],
        "mean": np.tile(mean, (len(rows), 1)),
        "copy_text": noisy,
    }
    return list(item_behaviour(asked("film", rows), found, mean, ratings, []))


def test_a_perfect_text_reaches_the_ceiling(of_items: list[Figure]) -> None:
    ceiling = value(of_items, "bc_auc", "factors")
    assert ceiling > 0.75
    assert value(of_items, "bc_auc", "elm") == pytest.approx(ceiling, abs=1e-9)
    assert value(of_items, "bc_spearman", "elm") == pytest.approx(1, abs=1e-9)


def test_controls_know_nobody(of_items: list[Figure]) -> None:
    assert value(of_items, "bc_auc", "shuffled") == pytest.approx(0.5, abs=0.06)
    assert value(of_items, "bc_auc", "mean") == pytest.approx(0.5, abs=0.06)
    assert value(of_items, "bc_spearman", "shuffled") == pytest.approx(0, abs=0.1)
    assert value(of_items, "bc_spearman", "mean") == pytest.approx(0, abs=1e-6)


def test_half_a_truth_lies_between(of_items: list[Figure]) -> None:
    for metric in ("bc_auc", "bc_spearman"):
        wrong, half, right = (value(of_items, metric, c) for c in ("shuffled", "copy_text", "elm"))
        assert wrong + 0.1 < half < right - 0.02


def test_the_difference_to_the_control_has_an_interval(of_items: list[Figure]) -> None:
    (gap,) = [e for m, c, e in of_items if (m, c) == ("bc_auc_minus_shuffled", "elm")]
    assert gap.value == pytest.approx(value(of_items, "bc_auc", "elm") - value(of_items, "bc_auc", "shuffled"))
    assert gap.low is not None
    assert 0.1 < gap.low < gap.value < (gap.high or 0)


def test_users_who_rated_it_before_count_neither_way() -> None:
    """Of four users one rated the item in training: with the best score, he would lower the area were he counted."""
    vectors = np.array([[4.0], [3.0], [2.0], [1.0]], np.float32)
    train, test = (
        Pairs(np.array(u), np.array(i), np.full(len(u), 4.0)) for u, i in (([0, 1], [0, 1]), ([1, 0], [0, 1]))
    )
    test = Pairs(np.array([1, 0, 2, 3]), np.array([0, 1, 2, 2]), np.full(4, 4.0))
    ratings = Ratings("film", None, np.ones((3, 1), np.float32), vectors, train, test, "")
    figures = list(item_behaviour(asked("film", np.arange(2)), {"elm": np.ones((2, 1))}, np.zeros(1), ratings, []))
    assert value(figures, "bc_auc", "elm") == 1.0


def test_items_without_held_out_ratings_are_told() -> None:
    ratings, notes = world(), list[str]()
    bare = Ratings("film", None, ratings.item_vectors, ratings.user_vectors, ratings.train, ratings.test, "")
    rows = np.setdiff1d(np.arange(ITEMS), ratings.test.item)[:5]
    assert not list(item_behaviour(asked("film", rows), {"elm": np.ones((len(rows), DIM))}, np.zeros(DIM), bare, notes))
    assert "0 test items have held-out ratings" in notes[0]


# ---- users


def of_users(ratings: Ratings) -> list[Figure]:
    rows = np.arange(80)
    right = ratings.user_vectors[rows]
    found = {"elm": right, "shuffled": right[derangement(len(rows), 0)]}
    texts = ItemTexts(np.arange(0, ITEMS, 2), ratings.item_vectors[::2], found)
    return list(user_behaviour(asked("user", rows), found, ratings, texts, []))


WAYS = [f"{metric}/{way}" for metric in ("bc_ndcg@10", "bc_spearman") for way in ("readback", "text")]


@pytest.mark.parametrize("metric", [*WAYS, "bc_auc"])
def test_taste_is_ranked_by_who_knows_it(metric: str) -> None:
    figures = of_users(world(taste=3.0))
    profile, other, fame, factors = (value(figures, metric, c) for c in ("elm", "shuffled", "popularity", "factors"))
    assert profile == pytest.approx(factors, abs=1e-9)
    assert profile > max(other, fame) + 0.05


@pytest.mark.parametrize("metric", [*WAYS, "bc_auc"])
def test_fame_is_ranked_by_popularity(metric: str) -> None:
    figures = of_users(world(taste=0.0, fame=2.0))
    assert value(figures, metric, "popularity") > value(figures, metric, "factors") + 0.1


def test_without_texts_about_items_one_way_is_left() -> None:
    ratings, notes = world(), list[str]()
    figures = list(
        user_behaviour(asked("user", np.arange(20)), {"elm": ratings.user_vectors[:20]}, ratings, None, notes)
    )
    assert {metric for metric, *_ in figures} == {"bc_ndcg@10/readback", "bc_spearman/readback", "bc_auc"}
    assert "no texts about items" in notes[0]


# ---- the scores


def test_auc() -> None:
    assert auc(np.array([3.0, 2.0]), np.array([1.0, 0.0])) == 1.0
    assert auc(np.array([1.0]), np.array([0.0, 2.0])) == 0.5
    assert auc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5


def test_ndcg() -> None:
    gains = np.array([3.0, 2.0, 1.0])
    best = 3 + 2 / np.log2(3) + 1 / 2
    assert ndcg(gains, gains) == pytest.approx(1)
    assert ndcg(gains, -gains) == pytest.approx((1 + 2 / np.log2(3) + 3 / 2) / best)
    # Equal scores are worth as much as a random order on average.
    assert ndcg(gains, np.zeros(3)) == pytest.approx(2 * (1 + 1 / np.log2(3) + 1 / 2) / best)
    assert ndcg(np.array([0.0, 0.0, 7.0]), np.array([3.0, 2.0, 1.0]), top=2) == 0.0


def test_spearman() -> None:
    a, b = np.random.default_rng(0).integers(0, 4, (2, 30)).astype(float)
    assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert spearman(np.ones(30), b) == 0.0


# ---- where ratings come from


def table(seed: int = 0) -> tuple[pa.Table, Ratings]:
    known = world(seed=seed)
    user, item, stars = (
        np.concatenate([getattr(known.train, k), getattr(known.test, k)]) for k in ("user", "item", "rating")
    )
    ids = {"user": [f"u{n}" for n in user], "item": [f"i{n}" for n in item]}
    return pa.table({**ids, "rating": np.maximum(stars, 0.5)}), known


def film_space(known: Ratings, **options: Any) -> VectorSpace:
    return VectorSpace.create("film", known.item_vectors, {"id": [f"i{n}" for n in range(ITEMS)]}, **options)


def test_a_factorisation_is_found_beside_its_spaces(tmp_path: Path) -> None:
    ratings, _ = table()
    config = WalsConfig(dim=4, iterations=2)
    made = factorize(ratings, tmp_path / "f", config=config, item_name="film", user_name="user", min_ratings=1)
    found = find_ratings({"user": made.users, "film": made.items})
    assert found is not None
    assert (found.items, found.users) == ("film", "user")
    assert len(found.test.user) == made.summary["ratings_test"]
    assert len(found.train.user) == made.summary["ratings_train"]
    row = int(found.test.item[0])
    pairs = set(zip(ratings["user"].to_pylist(), ratings["item"].to_pylist(), strict=True))
    assert (made.users.column("id")[int(found.test.user[0])].as_py(), made.items.column("id")[row].as_py()) in pairs
    alone = find_ratings({"person": made.users})
    assert alone is not None
    assert (alone.items, alone.users) == (None, "person")
    other = VectorSpace.create("film", np.eye(5), {"id": list("abcde"), "split": ["train"] * 5}).save(
        tmp_path / "f" / "o"
    )
    assert find_ratings({"film": other}) is None


def test_users_of_a_foreign_space_are_fitted(tmp_path: Path) -> None:
    """The vectors that ridge finds rank the users of an item nearly as well as those that made the ratings."""
    import pyarrow.csv

    ratings, known = table()
    pyarrow.csv.write_csv(ratings, tmp_path / "ratings.csv")
    space = film_space(known)
    found = find_ratings({"film": space}, tmp_path / "ratings.csv")
    assert found is not None
    assert (found.items, found.users) == ("film", None)
    rows = space.rows("test")
    figures = list(item_behaviour(asked("film", rows), {}, space.vectors.mean(0), found, []))
    assert value(figures, "bc_auc", "factors") > 0.7
    # Ratings of test items took no part: without them the users are the same.
    kept = ~np.isin(found.train.item, rows)
    fewer = Pairs(found.train.user[kept], found.train.item[kept], found.train.rating[kept])
    from vectalk.evaluation.ratings import fit_users

    np.testing.assert_array_equal(fit_users(space, fewer, len(found.user_vectors)), found.user_vectors)
    # Clicks do as well, without a header and a column of ratings: who met what is all that counts.
    pairs = zip(ratings["user"].to_pylist(), ratings["item"].to_pylist(), strict=True)
    (tmp_path / "clicks.data").write_text("".join(f"{user}\t{item}\n" for user, item in pairs))
    clicks = find_ratings({"film": space}, tmp_path / "clicks.data")
    assert clicks is not None
    np.testing.assert_array_equal(clicks.user_vectors, found.user_vectors)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    import pyarrow.csv

    ratings, known = table()
    pyarrow.csv.write_csv(ratings, tmp_path / "ratings.csv")
    space = film_space(known)
    with pytest.raises(EvaluationError, match="nowhere does not exist"):
        find_ratings({"film": space}, tmp_path / "nowhere")
    with pytest.raises(EvaluationError, match="--ratings SPACE="):
        find_ratings({"film": space, "book": space}, tmp_path / "ratings.csv")
    assert find_ratings({"film": space, "book": space}, f"film={tmp_path / 'ratings.csv'}") is not None
    strange = VectorSpace.create("film", known.item_vectors, {"id": [f"x{n}" for n in range(ITEMS)]})
    with pytest.raises(EvaluationError, match="must be ids of this space, such as 'x0'"):
        find_ratings({"film": strange}, tmp_path / "ratings.csv")
    config = WalsConfig(dim=4, iterations=1)
    made = factorize(ratings, tmp_path / "f", config=config, holdout=0.0, min_ratings=1)
    assert find_ratings({"item": made.items}) is None
    with pytest.raises(EvaluationError, match="has no held-out ratings"):
        find_ratings({"item": made.items}, tmp_path / "f")
