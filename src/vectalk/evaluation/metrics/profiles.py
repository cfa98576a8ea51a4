"""Behavioural consistency of users: does the text about a user predict the held-out ratings of the user?"""

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
USER_BASELINES = ("shuffled", "copy_text")  # a probe reads attributes, so it cannot rank items
TOP = 10
MOST_ITEMS = 5000  # most items that are ranked for a user


@dataclass(frozen=True)
class ItemTexts:
    """Reference texts of items, encoded.

    Attributes:
        rows: [M] rows of the items that have a reference text.
        items: [M, E] embeddings of these reference texts.
        profiles: condition -> embeddings [n, E] of the texts about users, from the same encoder.
    """

    rows: np.ndarray
    items: np.ndarray
    profiles: Mapping[str, np.ndarray]


def item_texts(
    task_texts: TaskTexts, references: Sequence[Example], ratings: Ratings, encoder: TextEncoder | str, most_texts: int
) -> ItemTexts | None:
    """Encode the texts about users, and the reference texts of the items in the users' held-out ratings.

    Args:
        task_texts: the texts of a task about one user.
        references: training examples of the task.
        ratings: ratings of the users of the space.
        encoder: a frozen encoder, or `tfidf`, which is fitted to training reference texts of items and users.
        most_texts: most training reference texts for the fit.

    Returns:
        The embeddings, or None if the corpus has no task about one item.
    """
    corpus = task_texts.corpus
    tasks = [t for t in corpus.suite.tasks if list(t.slots.values()) == [ratings.items] and t.about in t.slots]
    if not tasks:
        return None
    slot, first = str(tasks[0].about), dict[int, Example]()
    for split_name in SPLITS:
        for example in corpus.examples(split_name, tasks[0].name):
            first.setdefault(example.slots[slot][1], example)
    held = np.unique(ratings.test.item[np.isin(ratings.test.user, task_texts.rows(str(task_texts.task.about)))])
    rows = np.array([row for row in held.tolist() if row in first], np.int64)
    if isinstance(encoder, str):
        known = [*(e for e in first.values() if e.split == TRAIN), *references]
        texts = [example.target for example in sampled(known, most_texts, task_texts.seed)]
        encoder = TfidfEncoder().fit(texts, seed=task_texts.seed)
    embedded = {condition: encoder.encode(texts) for condition, texts in task_texts.texts.items()}
    return ItemTexts(rows, encoder.encode([first[row].target for row in rows.tolist()]), embedded)


def user_behaviour(
    task_texts: TaskTexts,
    read_vectors: Mapping[str, np.ndarray],
    ratings: Ratings,
    texts: ItemTexts | None,
    notes: list[str],
) -> Iterator[Figure]:
    """Rank items for a user only by the text about the user, and compare the ranking with the held-out ratings.

    Items are ranked in two ways. `readback`: by the product of the vector that the text reads back as with the vector
    of the item. `text`: by the similarity of the text to the reference text of the item. The metrics are NDCG at 10
    (gain 2^rating - 1) and Spearman's correlation, averaged over users whose held-out ratings differ. `bc_auc` measures
    how well the `readback` scores separate items with a held-out rating from items that the user never rated.

    Two more conditions need no text: `popularity` ranks by the number of training ratings, and `factors` uses the
    user's own vector.

    Args:
        task_texts: the texts of a task about one user.
        read_vectors: condition -> vectors [n, D] that the texts of the condition read back as.
        ratings: ratings of the users of the space.
        texts: embeddings for the ranking by `text`; None if the corpus has no texts about items.
        notes: a list; the function appends what was not measured, and why.
    """
    rows = task_texts.rows(task_texts.task.about or "")
    items = _candidates(rows, ratings, task_texts.seed)
    users = {**read_vectors, FACTORS: ratings.user_vectors[rows]}
    scores = {condition: vectors @ ratings.item_vectors[items].T for condition, vectors in users.items()}
    scores[POPULARITY] = _popularity(task_texts.n, items, ratings)
    yield from _ranked(task_texts, "readback", scores, items, rows, ratings, notes)
    held, seen = (part.matrix(items, rows).T for part in (ratings.test, ratings.train))
    if held.any(axis=1).sum() > 1:
        yield from areas(task_texts, scores, held, ~held & ~seen, baselines=USER_BASELINES)
    if texts is None:
        notes.append(
            f"task {task_texts.task.name!r}: the corpus has no texts about items, so items are not ranked by texts"
        )
        return
    by_words = {condition: embedded @ texts.items.T for condition, embedded in texts.profiles.items()}
    by_words[FACTORS] = ratings.user_vectors[rows] @ ratings.item_vectors[texts.rows].T
    by_words[POPULARITY] = _popularity(task_texts.n, texts.rows, ratings)
    yield from _ranked(task_texts, "text", by_words, texts.rows, rows, ratings, notes)


def _candidates(rows: np.ndarray, ratings: Ratings, seed: int) -> np.ndarray:
    """Return the rows of the items to rank: all with held-out ratings of the users, and a sample of the others."""
    count = len(ratings.item_vectors)
    if count <= MOST_ITEMS:
        return np.arange(count)
    held = np.unique(ratings.test.item[np.isin(ratings.test.user, rows)])
    return np.union1d(held, np.random.default_rng(seed).permutation(count)[:MOST_ITEMS])


def _popularity(n: int, items: np.ndarray, ratings: Ratings) -> np.ndarray:
    """Return the number of training ratings of each item, repeated for all users [n, M]."""
    counts = np.bincount(ratings.train.item, minlength=len(ratings.item_vectors))[items]
    return np.tile(counts.astype(float), (n, 1))


def _ranked(
    task_texts: TaskTexts,
    way: str,
    scores: Mapping[str, np.ndarray],
    items: np.ndarray,
    rows: np.ndarray,
    ratings: Ratings,
    notes: list[str],
) -> Iterator[Figure]:
    """Yield NDCG and Spearman's correlation of the scores [n, M] of items [M] with the held-out ratings."""
    place = np.full(len(ratings.item_vectors), -1)
    place[items] = np.arange(len(items))
    tested: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for i, user in enumerate(rows):
        own = (ratings.test.user == user) & (place[ratings.test.item] >= 0)
        values = ratings.test.rating[own]
        if len(np.unique(values)) > 1:  # equal ratings: every ranking is correct
            tested[i] = place[ratings.test.item[own]], values
    if len(tested) < 2:
        notes.append(
            f"task {task_texts.task.name!r}: {len(tested)} test users have held-out ratings that differ ({way})"
        )
        return
    gains: dict[str, Statistic] = {}
    correlations: dict[str, Statistic] = {}
    for condition, score in scores.items():
        gain, correlated = np.full((2, task_texts.n), np.nan)
        for i, (columns, values) in tested.items():
            gain[i], correlated[i] = ndcg(2.0**values - 1, score[i, columns]), spearman(score[i, columns], values)
        gains[condition], correlations[condition] = mean_of(gain), mean_of(correlated)
    for name, statistics in ((f"bc_ndcg@{TOP}", gains), ("bc_spearman", correlations)):
        for metric, condition, figure in task_texts.figures(f"{name}/{way}", statistics, USER_BASELINES):
            yield metric, condition, figure._replace(n=len(tested))


def ndcg(gains: np.ndarray, scores: np.ndarray, top: int = TOP) -> float:
    """Return the normalised discounted cumulative gain of ranking by scores [M].

    Items of equal score share the mean gain of their ranks (McSherry and Najork 2008). So a constant score has the
    expected value of a random ranking.
    """
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))
    discounts[top:] = 0.0
    _, group, count = np.unique(-scores, return_inverse=True, return_counts=True)
    shared = np.bincount(group, gains) / count
    reached = float(shared @ np.add.reduceat(discounts, np.cumsum(count) - count))
    best = float(np.sort(gains)[::-1] @ discounts)
    return reached / best if best > 0 else 1.0


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation of two columns [M]; zero if a column is constant."""
    x, y = rankdata(a) - (len(a) + 1) / 2, rankdata(b) - (len(b) + 1) / 2
    norm = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / norm) if norm > 0 else 0.0
