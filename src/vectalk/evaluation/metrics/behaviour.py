"""Behavioural consistency of items: would the same users choose what the text tells of?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from vectalk.evaluation.metrics.bootstrap import correlation, mean_of
from vectalk.evaluation.ratings import MOST_USERS, Ratings
from vectalk.evaluation.texts import RIVALS, Figure, TaskTexts

FACTORS = "factors"  # the pseudo-condition that knows the vector itself


def item_behaviour(
    given: TaskTexts, found: Mapping[str, np.ndarray], mean: np.ndarray, ratings: Ratings, notes: list[str]
) -> Iterator[Figure]:
    """Compare who is drawn to what a text tells of with who rated the item, and with whom its vector draws.

    `bc_auc`: a user's score is the product of his vector with what the text reads back as; the area under the ROC curve
    parts users with a held-out rating of the item from users who never rated it, and is averaged over items. The
    condition `factors` is the same with the item's own vector. `bc_spearman`: rank correlation of the scores of all
    users and items with those of the items' own vectors, both doubly centred, since uncentred even the mean vector
    correlates (some users are drawn to everything).

    Args:
        given: the texts of a task about one item.
        found: condition -> the vectors [n, D] that its texts read back as.
        mean: [D] the mean of the space.
        ratings: of the space's items.
        notes: is told why nothing was measured.
    """
    rows = given.rows(given.task.about or "")
    users = np.unique(ratings.test.user)
    if len(users) > MOST_USERS:
        users = np.sort(np.random.default_rng(given.seed).permutation(users)[:MOST_USERS])
    held, seen = (part.matrix(rows, users) for part in (ratings.test, ratings.train))
    usable = held.any(axis=1) & ~(held | seen).all(axis=1)
    if usable.sum() < 2:
        notes.append(f"task {given.task.name!r}: no behaviour, {usable.sum()} test items have held-out ratings")
        return
    vectors = {**found, FACTORS: ratings.item_vectors[rows]}
    scores = {condition: (v - mean) @ ratings.user_vectors[users].T for condition, v in vectors.items()}
    yield from areas(given, scores, held, ~held & ~seen)
    true = _ranks(scores.pop(FACTORS))
    yield from given.figures("bc_spearman", {c: correlation(_ranks(score), true) for c, score in scores.items()})


def areas(
    given: TaskTexts,
    scores: Mapping[str, np.ndarray],
    held: np.ndarray,
    unrated: np.ndarray,
    rivals: Sequence[str] = RIVALS,
) -> Iterator[Figure]:
    """Yield `bc_auc`: how well scores part held-out ratings from pairs that were never rated, averaged over rows.

    Args:
        given: the texts about n entities.
        scores: condition -> [n, M] of each entity and each of the M others (users of items, items of users).
        held: [n, M] whether the rating is held out.
        unrated: [n, M] whether there is no rating. Rows that lack one or the other have no area.
        rivals: whom the model is compared with.
    """
    usable = np.flatnonzero(held.any(axis=1) & unrated.any(axis=1))
    means = {}
    for condition, score in scores.items():
        area = np.full(given.n, np.nan)
        for i in usable:
            area[i] = auc(score[i, held[i]], score[i, unrated[i]])
        means[condition] = mean_of(area)
    for metric, condition, figure in given.figures("bc_auc", means, rivals):
        yield metric, condition, figure._replace(n=len(usable))


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the share of pairs in which the positive score [P] is above the negative one [N]; ties count half."""
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Return the ranks, from -1 to 1, of doubly centred scores [n, U]."""
    centred = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
    ranks = rankdata(centred.ravel()).reshape(scores.shape)
    return 2 * (ranks - (scores.size + 1) / 2) / scores.size
