"""Behavioural consistency of users: can a profile, read by itself, rank what the user will rate?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from vectalk.evaluation.metrics.behaviour import FACTORS, areas
from vectalk.evaluation.metrics.bootstrap import Statistic, mean_of
from vectalk.evaluation.ratings import Ratings
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.readback import TextEncoder, TfidfEncoder
from vectalk.readback.readback import sampled
from vectalk.space.split import SPLITS, TRAIN
from vectalk.tasks import Example

POPULARITY = "popularity"
BEATEN = ("shuffled", "copy_text")  # whom the model is compared with; a probe ranks no items
TOP = 10
MOST_ITEMS = 5000  # that a user's texts are scored for


@dataclass(frozen=True)
class ItemTexts:
    """Reference texts of items, encoded.

    Attributes:
        rows: [M] rows of the items that have a text.
        items: [M, E] their texts' embeddings.
        profiles: condition -> [n, E] embeddings of the texts about users, by the same encoder.
    """

    rows: np.ndarray
    items: np.ndarray
    profiles: Mapping[str, np.ndarray]


def item_texts(
    given: TaskTexts, references: Sequence[Example], ratings: Ratings, encoder: TextEncoder | str, most_texts: int
) -> ItemTexts | None:
    """Encode the reference texts of the items that the users' held-out ratings are of, and the texts about the users.

    Args:
        given: the texts of a task about one user.
        references: its training examples.
        ratings: of the space's users.
        encoder: a frozen encoder, or `tfidf`: fitted on training references of items and users then.
        most_texts: training references to fit on at most.

    Returns:
        None where the corpus has no task about one item.
    """
    corpus = given.corpus
    tasks = [t for t in corpus.suite.tasks if list(t.slots.values()) == [ratings.items] and t.about in t.slots]
    if not tasks:
        return None
    slot, first = str(tasks[0].about), dict[int, Example]()
    for split_name in SPLITS:
        for example in corpus.examples(split_name, tasks[0].name):
            first.setdefault(example.slots[slot][1], example)
    held = np.unique(ratings.test.item[np.isin(ratings.test.user, given.rows(str(given.task.about)))])
    rows = np.array([row for row in held.tolist() if row in first], np.int64)
    if isinstance(encoder, str):
        known = [*(e for e in first.values() if e.split == TRAIN), *references]
        texts = [example.target for example in sampled(known, most_texts, given.seed)]
        encoder = TfidfEncoder().fit(texts, seed=given.seed)
    embedded = {condition: encoder.encode(texts) for condition, texts in given.texts.items()}
    return ItemTexts(rows, encoder.encode([first[row].target for row in rows.tolist()]), embedded)


def user_behaviour(
    given: TaskTexts,
    found: Mapping[str, np.ndarray],
    ratings: Ratings,
    texts: ItemTexts | None,
    notes: list[str],
) -> Iterator[Figure]:
    """Rank the items of a user's held-out ratings by a text about the user alone, and compare with the ratings.

    Two ways to rank: `readback`, by the product of what the text reads back as with the items' vectors, and `text`, by
    the similarity of the text to the items' reference texts. NDCG at 10 (gain 2^rating - 1) and Spearman's correlation,
    averaged over users whose held-out ratings differ. `bc_auc` parts, by the first way, the items of the held-out
    ratings from items that the user never rated. Beside the conditions: `popularity` (number of training ratings), and
    `factors` (the user's own vector).

    Args:
        given: the texts of a task about one user.
        found: condition -> the vectors [n, D] that its texts read back as.
        ratings: of the space's users.
        texts: for the second way, where the corpus has texts about items.
        notes: is told what was not measured, and why.
    """
    rows = given.rows(given.task.about or "")
    items = _candidates(rows, ratings, given.seed)
    users = {**found, FACTORS: ratings.user_vectors[rows]}
    scores = {condition: vectors @ ratings.item_vectors[items].T for condition, vectors in users.items()}
    scores[POPULARITY] = _popularity(given.n, items, ratings)
    yield from _ranked(given, "readback", scores, items, rows, ratings, notes)
    held, seen = (part.matrix(items, rows).T for part in (ratings.test, ratings.train))
    if held.any(axis=1).sum() > 1:
        yield from areas(given, scores, held, ~held & ~seen, rivals=BEATEN)
    if texts is None:
        notes.append(f"task {given.task.name!r}: the corpus has no texts about items to rank by their words")
        return
    by_words = {condition: embedded @ texts.items.T for condition, embedded in texts.profiles.items()}
    by_words[FACTORS] = ratings.user_vectors[rows] @ ratings.item_vectors[texts.rows].T
    by_words[POPULARITY] = _popularity(given.n, texts.rows, ratings)
    yield from _ranked(given, "text", by_words, texts.rows, rows, ratings, notes)


def _candidates(rows: np.ndarray, ratings: Ratings, seed: int) -> np.ndarray:
    """Return the items that are ranked: those of the users' held-out ratings, and a sample of the others."""
    count = len(ratings.item_vectors)
    if count <= MOST_ITEMS:
        return np.arange(count)
    held = np.unique(ratings.test.item[np.isin(ratings.test.user, rows)])
    return np.union1d(held, np.random.default_rng(seed).permutation(count)[:MOST_ITEMS])


def _popularity(n: int, items: np.ndarray, ratings: Ratings) -> np.ndarray:
    """Return the number of training ratings of each item, the same for all users [n, M]."""
    counts = np.bincount(ratings.train.item, minlength=len(ratings.item_vectors))[items]
    return np.tile(counts.astype(float), (n, 1))


def _ranked(
    given: TaskTexts,
    way: str,
    scores: Mapping[str, np.ndarray],
    items: np.ndarray,
    rows: np.ndarray,
    ratings: Ratings,
    notes: list[str],
) -> Iterator[Figure]:
    """Yield NDCG and Spearman of scores [n, M] of items [M]."""
    place = np.full(len(ratings.item_vectors), -1)
    place[items] = np.arange(len(items))
    tested: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for i, user in enumerate(rows):
        own = (ratings.test.user == user) & (place[ratings.test.item] >= 0)
        values = ratings.test.rating[own]
        if len(np.unique(values)) > 1:  # else every order is right
            tested[i] = place[ratings.test.item[own]], values
    if len(tested) < 2:
        notes.append(f"task {given.task.name!r}: {len(tested)} test users have held-out ratings that differ ({way})")
        return
    gains: dict[str, Statistic] = {}
    correlations: dict[str, Statistic] = {}
    for condition, score in scores.items():
        gain, correlated = np.full((2, given.n), np.nan)
        for i, (columns, values) in tested.items():
            gain[i], correlated[i] = ndcg(2.0**values - 1, score[i, columns]), spearman(score[i, columns], values)
        gains[condition], correlations[condition] = mean_of(gain), mean_of(correlated)
    for name, statistics in ((f"bc_ndcg@{TOP}", gains), ("bc_spearman", correlations)):
        for metric, condition, figure in given.figures(f"{name}/{way}", statistics, BEATEN):
            yield metric, condition, figure._replace(n=len(tested))


def ndcg(gains: np.ndarray, scores: np.ndarray, top: int = TOP) -> float:
    """Return the normalised discounted cumulative gain of ranking by scores [M].

    Items of equal score share the mean gain of their places (McSherry and Najork 2008), so that a constant score is as
    good as chance.
    """
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))
    discounts[top:] = 0.0
    _, group, count = np.unique(-scores, return_inverse=True, return_counts=True)
    shared = np.bincount(group, gains) / count
    reached = float(shared @ np.add.reduceat(discounts, np.cumsum(count) - count))
    best = float(np.sort(gains)[::-1] @ discounts)
    return reached / best if best > 0 else 1.0


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation of two columns [M]; zero where one is constant."""
    x, y = rankdata(a) - (len(a) + 1) / 2, rankdata(b) - (len(b) + 1) / 2
    norm = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / norm) if norm > 0 else 0.0
