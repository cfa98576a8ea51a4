"""From ratings to figures of behaviour: factorise, build a corpus of items and users, evaluate."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from vectalk.evaluation import evaluate
from vectalk.space.factorization.ratings import factorize
from vectalk.space.factorization.wals import WalsConfig
from vectalk.tasks import Corpus, FactsTeacher, Suite, build_corpus

GENRES = ("Comedy", "Drama", "Horror", "War")
SUITE = """
name: taste
attributes:
  film:
    genres: {kind: list}
  user:
    likes: {kind: list, column: liked_genres}
tasks:
  - name: summary
    slots: {film: film}
    about: film
    states: [genres]
    prompts: ["Summarise {film}."]
    facts: ["A film of {{ film.genres | series }}."]
  - name: profile
    slots: {user: user}
    about: user
    states: [likes]
    prompts: ["Who is {user}?"]
    facts: ["Likes films of {{ user.likes | series }}."]
  - name: alike
    slots: {a: film, b: film}
    about: lerp(a, b, 0.5)
    prompts: ["What of {a} and {b}?"]
    facts: ["Films of {{ a.genres | series }} and {{ b.genres | series }}."]
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Each film has one or two genres, each user likes two: what a user likes is rated often, and highly."""
    folder, rng = tmp_path_factory.mktemp("taste"), np.random.default_rng(0)
    items, users = 300, 200
    has = np.eye(4)[rng.integers(4, size=items)] + np.eye(4)[rng.integers(4, size=items)] > 0
    likes = rng.permuted(np.tile([True, True, False, False], (users, 1)), axis=1)
    liking = (likes.astype(float) @ has.T) / has.sum(1) - 0.5
    user, item = np.nonzero(rng.random(liking.shape) < 0.12 + 0.2 * liking)
    stars = np.clip(np.round(3 + 3 * liking[user, item] + 0.5 * rng.standard_normal(len(user))), 1, 5)
    ids = {"user": [f"u{n}" for n in user], "item": [f"i{n}" for n in item]}
    films = {
        "id": [f"i{n}" for n in range(items)],
        "title": [f"Film {n}" for n in range(items)],
        "genres": [[g for g, there in zip(GENRES, row, strict=True) if there] for row in has],
    }
    made = factorize(
        pa.table({**ids, "rating": stars}),
        folder / "factors",
        items=pa.table(films),
        config=WalsConfig(dim=8),
        item_name="film",
        user_name="user",
        min_ratings=3,
    )
    spaces, suite = {"film": made.items, "user": made.users}, Suite.parse(SUITE, "taste")
    return build_corpus(spaces, suite, FactsTeacher(suite, spaces), folder / "corpus", variants=1)


class Truthful:
    """Says what is true of the entity whose vector it is given."""

    fingerprint = "truthful"

    def __init__(self, corpus: Corpus) -> None:
        self.spaces, self.teacher = corpus.spaces, FactsTeacher(corpus.suite, corpus.spaces)
        self.tasks = {prompt: task for task in corpus.suite.tasks for prompt in task.prompts}

    def generate(self, prompts: Sequence[str], slots: Sequence[dict], **_: Any) -> list[str]:
        rows = [{s: self._row(*given) for s, given in asked.items()} for asked in slots]
        return [self.teacher.write(self.tasks[p], r, "") or "" for p, r in zip(prompts, rows, strict=True)]

    def _row(self, space: str, vector: np.ndarray) -> int:
        return int(np.square(np.asarray(self.spaces[space].vectors) - vector).sum(1).argmin())


@pytest.fixture(scope="module")
def rows(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("out")
    found = evaluate(Truthful(corpus), corpus, out, conditions=["copy_text"])
    assert "users as factorised" in json.loads((out / "config.json").read_text())["ratings"]
    return found


def values(rows: list[dict[str, Any]], task: str, metric: str) -> dict[str, float]:
    return {r["condition"]: r["value"] for r in rows if (r["task"], r["metric"]) == (task, metric)}


def test_true_words_about_a_film_tell_who_watches_it(rows: list[dict[str, Any]]) -> None:
    found = values(rows, "summary", "bc_auc")
    assert found["elm"] > 0.6
    assert found["elm"] > found["shuffled"] + 0.1
    assert found["shuffled"] == pytest.approx(0.5, abs=0.08)
    assert found["elm"] == found["own_text"]
    assert {"factors", "copy_text"} < set(found)
    correlated = values(rows, "summary", "bc_spearman")
    assert correlated["elm"] > correlated["shuffled"] + 0.3
    (gap,) = [r for r in rows if (r["task"], r["metric"]) == ("summary", "bc_auc_minus_shuffled")]
    assert gap["low"] > 0


@pytest.mark.parametrize("metric", ["bc_auc", "bc_ndcg@10/readback", "bc_ndcg@10/text", "bc_spearman/text"])
def test_true_words_about_a_user_rank_films(rows: list[dict[str, Any]], metric: str) -> None:
    found = values(rows, "profile", metric)
    assert set(found) == {"elm", "shuffled", "own_text", "copy_text", "factors", "popularity"}
    assert found["elm"] > found["shuffled"] + 0.02


def test_what_is_about_no_entity_has_no_behaviour(rows: list[dict[str, Any]]) -> None:
    metrics = {r["metric"] for r in rows if r["task"] == "alike"}
    assert "sc" in metrics
    assert not [name for name in metrics if name.startswith("bc_")]
