"""Behavioural consistency of items: does a text attract the same users as the item that the text describes?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from vectalk.evaluation.metrics.bootstrap import correlation, mean_of
from vectalk.evaluation.ratings import MOST_USERS, Ratings
from vectalk.evaluation.texts import BASELINES, Figure, TaskTexts

FACTORS = "factors"  # not a text: scores computed from the vector itself


def item_behaviour(
    task_texts: TaskTexts, read_vectors: Mapping[str, np.ndarray], mean: np.ndarray, ratings: Ratings, notes: list[str]
) -> Iterator[Figure]:
    """Score users by the text about an item, and compare the scores with ratings and with the item's own vector.

    `bc_auc`: the score of a user is the product of the user's vector with the vector that the text reads back as. The
    area under the ROC curve measures how well the scores separate users with a held-out rating of the item from users
    who never rated the item. The areas are averaged over items. The condition `factors` uses the item's own vector.

    `bc_spearman`: rank correlation, over all users and items, of these scores with the scores of the items' own
    vectors. Both are doubly centred: some users like everything, so without centring even the mean vector correlates.

    Args:
        task_texts: the texts of a task about one item.
        read_vectors: condition -> vectors [n, D] that the texts of the condition read back as.
        mean: [D] mean vector of the space.
        ratings: ratings of the items of the space.
        notes: a list; if nothing can be measured, the function appends the reason.
    """
    rows = task_texts.rows(task_texts.task.about or "")
    users = np.unique(ratings.test.user)
    if len(users) > MOST_USERS:
        users = np.sort(np.random.default_rng(task_texts.seed).permutation(users)[:MOST_USERS])
    held, seen = (part.matrix(rows, users) for part in (ratings.test, ratings.train))
    usable = held.any(axis=1) & ~(held | seen).all(axis=1)
    if usable.sum() < 2:
        notes.append(
            f"task {task_texts.task.name!r}: no behaviour metrics, {usable.sum()} test items have held-out ratings"
        )
        return
    vectors = {**read_vectors, FACTORS: ratings.item_vectors[rows]}
    scores = {condition: (v - mean) @ ratings.user_vectors[users].T for condition, v in vectors.items()}
    yield from areas(task_texts, scores, held, ~held & ~seen)
    vector_ranks = _ranks(scores.pop(FACTORS))
    yield from task_texts.figures(
        "bc_spearman", {c: correlation(_ranks(score), vector_ranks) for c, score in scores.items()}
    )


def areas(
    task_texts: TaskTexts,
    scores: Mapping[str, np.ndarray],
    held: np.ndarray,
    unrated: np.ndarray,
    baselines: Sequence[str] = BASELINES,
) -> Iterator[Figure]:
    """Yield `bc_auc`: how well scores separate held-out ratings from pairs without a rating, averaged over rows.

    Args:
        task_texts: the texts about n entities.
        scores: condition -> scores [n, M] of each entity with each of M others (users for an item, items for a user).
        held: [n, M] True where the rating is held out.
        unrated: [n, M] True where there is no rating. A row needs a True in both matrices, else it has no area.
        baselines: conditions that the model is compared with.
    """
    usable = np.flatnonzero(held.any(axis=1) & unrated.any(axis=1))
    means = {}
    for condition, score in scores.items():
        area = np.full(task_texts.n, np.nan)
        for i in usable:
            area[i] = auc(score[i, held[i]], score[i, unrated[i]])
        means[condition] = mean_of(area)
    for metric, condition, figure in task_texts.figures("bc_auc", means, baselines):
        yield metric, condition, figure._replace(n=len(usable))


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the share of pairs whose positive score [P] is above the negative score [N]; a tie counts half."""
    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Centre scores [n, U] by rows and columns, and return their ranks [n, U] scaled to -1 to 1."""
    centred = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
    ranks = rankdata(centred.ravel()).reshape(scores.shape)
    return 2 * (ranks - (scores.size + 1) / 2) / scores.size
