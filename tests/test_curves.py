"""Curves of a generator that knows the world, and of one that never looks: what must rise rises, the rest is flat."""

import importlib
import json
import re

import numpy as np
import pyarrow as pa
import pytest

from linear_world import DIM, GENRES, Blind, Oracle
from vectalk.errors import EvaluationError
from vectalk.evaluation.curves.cold_start import Behaviour, RatingsOf, crossings, folded
from vectalk.evaluation.curves.curves import ALPHAS, STEPS, curves
from vectalk.evaluation.curves.plot import chart
from vectalk.evaluation.metrics.bootstrap import whole
from vectalk.evaluation.ratings import Pairs, Ratings
from vectalk.space.factorization.ratings import factorize
from vectalk.space.factorization.wals import WalsConfig
from vectalk.tasks.teachers.told import FactPhrases, told

SMALL = {"pairs": 30, "entities": 25, "concepts": 1}


@pytest.fixture(scope="module")
def corpus(linear_corpus):
    return linear_corpus


@pytest.fixture(scope="module", autouse=True)
def probes_are_fitted_once(linear_facts):
    """The probes depend on corpus and seed alone, so that the tests may share them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("vectalk.evaluation.curves.curves"), "Facts", lambda *_: linear_facts)
        yield


@pytest.fixture(scope="module")
def seen(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("seen")
    return curves(Oracle(corpus), corpus, out, **SMALL), out


def pick(rows, **where):
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def values(rows, **where):
    return np.array([row["value"] for row in pick(rows, **where)])


def test_a_walk_leaves_one_end_and_comes_to_the_other(seen) -> None:
    rows, _ = seen
    walk = {"curve": "interpolation", "condition": "elm"}
    a, b = (values(rows, metric=f"states_{side}/genres", **walk) for side in "ab")
    assert len(a) == len(ALPHAS)
    assert (a[0], b[-1]) == (1.0, 1.0)
    assert (a[-1], b[0]) == (0.0, 0.0)
    assert a[0] > a[5] > a[-1]
    assert b[0] < b[5] < b[-1]
    assert values(rows, metric="sc", **walk).min() > 0.3


def test_a_shift_raises_what_it_names(seen) -> None:
    rows, _ = seen
    for genre in {row["subject"] for row in pick(rows, curve="shift", metric="target")}:
        assert genre in GENRES
        shift = {"curve": "shift", "subject": genre}
        target = values(rows, metric="target", condition="elm", **shift)
        assert len(target) == len(STEPS)
        assert (target[0], target[-1]) == (0.0, 1.0)
        assert (np.diff(target) >= 0).all()
        follows = {c: values(rows, metric="spearman", condition=c, **shift)[0] for c in ("elm", "random", "probe")}
        assert follows["elm"] > 0.7
        assert follows["probe"] > 0.6
        assert abs(follows["random"]) < follows["elm"]
        change = values(rows, metric="target_change", condition="elm", **shift)[-1]
        assert change > values(rows, metric="other_change", condition="elm", **shift)[-1]


def test_a_long_shift_leaves_the_data(seen) -> None:
    rows, _ = seen
    far = pick(rows, curve="shift", metric="far", condition="elm")
    ends = np.mean([row["value"] for row in far if abs(row["x"]) == 4])
    assert ends > np.mean([row["value"] for row in far if row["x"] == 0])


def test_who_never_looks_has_flat_curves(corpus, tmp_path) -> None:
    rows = curves(Blind(corpus), corpus, tmp_path, **SMALL)
    assert (values(rows, metric="spearman", condition="elm") == 0).all()
    assert (values(rows, metric="target_change", condition="elm") == 0).all()
    assert np.ptp(values(rows, curve="interpolation", metric="states_a/genres", condition="elm")) < 1e-9


def test_what_is_written(seen, corpus) -> None:
    rows, out = seen
    assert [json.loads(line) for line in (out / "curves.jsonl").read_text().splitlines()] == rows
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["low"] is not None)
    page = (out / "curves.html").read_text()
    assert page.count("<svg") > 5
    assert "http" not in page.replace("http://www.w3.org", "")
    assert not (out / "curves.partial.jsonl").exists()
    assert json.loads((out / "curves.json").read_text())["tasks"] == ["summary"]


def test_a_task_of_two_entities_is_refused(corpus, tmp_path) -> None:
    with pytest.raises(EvaluationError, match="'both' has no curves"):
        curves(Oracle(corpus), corpus, tmp_path, tasks=["both"])


def test_a_chart_holds_each_condition_and_survives_odd_titles() -> None:
    rows = [
        {"condition": c, "x": x, "value": v, "low": v - 0.1, "high": v + 0.1}
        for c in ("elm", "a<b")
        for x, v in ((1, 0.2), (50, 0.4), (None, 0.9))
    ]
    drawn = chart("score/x", rows)
    assert drawn.count("<polyline") == 2
    assert "a&lt;b" in drawn
    assert ">all<" in drawn
    assert "nan" not in drawn


def test_folding_in_comes_nearer_with_every_rating(tmp_path) -> None:
    rng = np.random.default_rng(0)
    taste, films = rng.standard_normal((120, DIM)), rng.standard_normal((80, DIM))
    user, item = np.nonzero(taste @ films.T + rng.standard_normal((120, 80)) > 1.0)
    table = pa.table(
        {"user": [f"u{n}" for n in user], "item": [f"i{n}" for n in item], "rating": np.ones(len(user)).tolist()}
    )
    made = factorize(table, tmp_path / "made", config=WalsConfig(dim=DIM, iterations=30), user_name="user")
    ratings = RatingsOf.space(made.users)
    rows = made.users.rows("test")
    orders = [np.random.default_rng(1).permutation(len(ratings.of(made.users, int(row))[0])) for row in rows]
    own = np.asarray(made.users.vectors[rows])
    near = []
    for count in (1, 5, 1000):
        vectors = folded(ratings, made.users, rows, orders, count)
        near.append(((vectors * own).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(own, axis=1)).mean())
    assert near[0] < near[1] < near[2]
    assert near[2] > 0.999  # all ratings give the vector that the factorisation gave
    assert RatingsOf.space(made.items) is None


def test_the_middle_of_walks_is_compared_pair_by_pair(seen) -> None:
    rows, out = seen
    own, copied, gap = (
        pick(rows, metric=metric, condition=condition)[0]
        for metric, condition in (
            ("sc_middle", "elm"),
            ("sc_middle", "copy_text"),
            ("sc_middle_minus_copy_text", "elm"),
        )
    )
    assert gap["value"] == pytest.approx(own["value"] - copied["value"])
    assert gap["low"] < gap["value"] < gap["high"]
    assert own["value"] > 0.3
    said = [json.loads(line) for line in (out / "curves_answers.jsonl").read_text().splitlines()]
    walk = [r for r in said if r["curve"] == "interpolation" and r["condition"] == "elm"]
    assert len(walk) == len(ALPHAS) * SMALL["pairs"]
    assert {len(r["at"]) for r in walk} == {2}


def test_what_a_walk_costs_is_told_from_what_its_ends_have(seen) -> None:
    rows, _ = seen
    for condition in ("elm", "copy_text", "probe_text"):
        middle, ends, walk = (
            pick(rows, metric=m, condition=condition)[0]["value"] for m in ("sc_middle", "sc_ends", "sc_walk")
        )
        assert walk == pytest.approx(middle - ends)
    at_ends = [r["value"] for r in pick(rows, metric="sc", condition="own_text")]
    assert len(at_ends) == 2
    assert pick(rows, metric="sc_ends", condition="own_text")[0]["value"] == pytest.approx(np.mean(at_ends))
    assert pick(rows, metric="sc_middle", condition="own_text") == []
    gap = pick(rows, metric="sc_walk_minus_copy_text", condition="elm")[0]
    walks = [pick(rows, metric="sc_walk", condition=c)[0]["value"] for c in ("elm", "copy_text")]
    assert gap["value"] == pytest.approx(walks[0] - walks[1])
    assert len(values(rows, metric="sc", condition="probe_text")) == len(ALPHAS)  # read anywhere, not at entities alone


def test_a_whole_shift_is_told_from_others_and_from_chance(seen) -> None:
    rows, _ = seen
    (genre,) = {row["subject"] for row in pick(rows, curve="shift", metric="p_value")}
    at = {"curve": "shift", "subject": genre}
    span, other, ratio = (
        pick(rows, metric=m, condition="elm", **at)[0] for m in ("target_span", "other_span", "ratio")
    )
    assert span["value"] == 1
    assert ratio["value"] == pytest.approx(span["value"] / other["value"])
    assert values(rows, metric="score_spearman", condition="elm", **at)[0] > 0.5
    chance = pick(rows, metric="spearman_95")[0]
    assert chance["n"] == len(GENRES)
    assert 0 <= chance["value"] < values(rows, metric="spearman", condition="elm", **at)[0]
    assert values(rows, metric="p_value", **at)[0] == pytest.approx(1 / (1 + len(GENRES)))


def test_an_llm_is_told_both_titles_and_their_shares(corpus, tmp_path) -> None:
    heard = []

    def chat(conversations):
        heard.extend(c[-1]["content"] for c in conversations)
        return ["Comedy of the 1990s."] * len(conversations)

    rows = curves(Blind(corpus), corpus, tmp_path, kinds=["interpolation"], pairs=3, chat=chat)
    for condition in ("text_llm", "told_llm"):
        assert len(values(rows, metric="sc", condition=condition)) == len(ALPHAS)
        assert pick(rows, metric=f"sc_middle_minus_{condition}", condition="elm")
    assert len(heard) == 2 * 3 * len(ALPHAS)
    assert all("“Film" in question and "{" not in question for question in heard)
    assert sum("70 % “Film" in q and "30 % “Film" in q for q in heard) == 2 * 2 * 3
    assert not pick(rows, curve="shift")
    rows = curves(Blind(corpus), corpus, tmp_path, kinds=["interpolation"], pairs=2, encoder="tfidf")
    assert not pick(rows, condition="text_llm")
    assert not pick(rows, condition="told_llm")


def test_an_llm_is_also_told_the_facts_of_both(corpus, tmp_path) -> None:
    heard = []

    def chat(conversations):
        heard.extend(conversations)
        return ["Comedy of the 1990s."] * len(conversations)

    curves(Blind(corpus), corpus, tmp_path, kinds=["interpolation"], pairs=3, chat=chat)
    space = corpus.spaces["film"]
    phrases, titles = FactPhrases.of(corpus.suite, "film", space), {space.title(row): row for row in range(len(space))}
    told_too = [c for c in heard if "” (" in c[-1]["content"]]
    assert len(told_too) == len(heard) / 2
    for conversation in told_too:
        for turn in conversation[::2]:  # the examples have the same form
            named = re.findall("“(.*?)”", turn["content"])
            assert named
            assert all(f"“{title}” ({told(phrases, titles[title])})" in turn["content"] for title in named)


def test_other_kinds_of_the_same_run_stay(corpus, tmp_path) -> None:
    small = {"pairs": 2, "entities": 3, "concepts": 1}
    first = curves(Blind(corpus), corpus, tmp_path, kinds=["shift"], **small)
    both = curves(Blind(corpus), corpus, tmp_path, kinds=["interpolation"], **small)
    assert both[: len(first)] == first
    assert {row["curve"] for row in both} == {"shift", "interpolation"}
    again = curves(Blind(corpus), corpus, tmp_path, kinds=["interpolation"], **small)
    assert again == both
    other = curves(Blind(corpus), corpus, tmp_path, kinds=["interpolation"], seed=1, **small)
    assert {row["curve"] for row in other} == {"interpolation"}


def test_an_unknown_kind_of_curve_is_refused(corpus, tmp_path) -> None:
    with pytest.raises(EvaluationError, match="unknown curve 'circle'; allowed are interpolation, shift, cold_start"):
        curves(Oracle(corpus), corpus, tmp_path, kinds=["circle"])


def test_what_users_did_is_predicted_from_vectors(corpus) -> None:
    class One:
        """Rows as they are, without intervals."""

        def row(self, curve, metric, condition, x, found):
            return {"metric": metric, "condition": condition, "value": np.nanmean(found)}

        def figure(self, curve, metric, condition, x, found):
            return {"metric": metric, "condition": condition, "value": found}

        def joint(self, n, statistics, combine):
            return combine(*(whole(s, n) for s in statistics))

    items = np.array([[1, 0], [0.9, 0], [0, 1], [0, 0.9], [-1, -1]], float)
    train = Pairs(np.array([0, 1]), np.array([0, 2]), np.array([5.0, 5.0]))
    test = Pairs(np.array([0, 0, 1, 1]), np.array([1, 2, 3, 0]), np.array([5.0, 1.0, 5.0, 1.0]))
    ratings = Ratings("film", "user", items, np.eye(2), train, test, "made up")
    rows = Behaviour.of(ratings, np.array([0, 1])).rows(One(), {"elm": np.eye(2), "blind": np.ones((2, 2))}, 5)
    found = {(r["metric"], r["condition"]): r["value"] for r in rows}
    assert found["bc_auc", "elm"] == 1.0 - 0.25 / 2  # one of two held-out films of each is as far as one never seen
    assert found["bc_ndcg@10", "elm"] == 1.0
    assert found["bc_ndcg@10", "popularity"] < 1.0
    assert found["bc_auc_minus_popularity", "elm"] == found["bc_auc", "elm"] - found["bc_auc", "popularity"]


def test_where_a_curve_crosses_popularity_for_good() -> None:
    gaps = [(1, 0.1, -0.1), (2, -0.1, -0.2), (5, 0.1, -0.1), (10, 0.2, 0.1), (None, 0.3, 0.2)]
    where = {"curve": "cold_start", "space": "user", "task": "profile", "condition": "elm"}
    rows = [{**where, "metric": "bc_auc_minus_popularity", "x": x, "value": v, "low": low} for x, v, low in gaps]
    (crossing,) = crossings(rows)
    assert (crossing["metric"], crossing["above"], crossing["surely"]) == ("bc_auc", 5, 10)
    assert crossings(rows[:2])[0]["above"] is None
    assert crossings(rows[4:])[0]["above"] == "all"
