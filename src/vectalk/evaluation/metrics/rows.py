"""Scores of values, vectors and texts for each entity; `bootstrap` turns the scores into figures with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from vectalk.evaluation.metrics.bootstrap import Statistic, mean_of, rank_correlation
from vectalk.tasks.attributes import AttributeReader

COMMON_SETS = 30  # constant answers that are tried for a list attribute


# ---- attributes


def sample_f1(predicted: Sequence[str] | None, true: Sequence[str]) -> float:
    """Return the F1 of the predicted values of one entity; 1 if both sets are empty."""
    a, b = set(predicted or ()), set(true)
    return 2.0 * len(a & b) / (len(a) + len(b)) if a or b else 1.0


def attribute_score(kind: str, predicted: Sequence[Any], true: Sequence[Any], default: Any = None) -> Statistic:
    """Return the score of predicted values as a statistic of entities.

    Args:
        kind: `list` (mean sample F1 over all values), `number` (Spearman), anything else (accuracy).
        predicted: one value for each entity; None if the text states none.
        true: the true values; None if the value is not known, and the entity is then left out.
        default: number that replaces a missing predicted number.
    """
    pairs = list(zip(predicted, true, strict=True))
    if kind == "number":
        stated = [default if p is None else p for p, _ in pairs]
        return rank_correlation(
            np.array(stated, float), np.array([np.nan if t is None else t for _, t in pairs], float)
        )
    agree = sample_f1 if kind == "list" else lambda p, t: float(p == t)
    return mean_of(np.array([np.nan if t is None else agree(p, t) for p, t in pairs]))


def majority(reader: AttributeReader, train: Sequence[Any], validation: Sequence[Any]) -> Any:
    """Return the best constant prediction, which uses no vector.

    For lists: the set, among the most frequent sets, with the best F1 on validation. For numbers: the mean. For other
    kinds: the most frequent value.
    """
    if reader.kind == "number":
        return float(np.mean(train))
    if reader.kind != "list":
        return Counter(train).most_common(1)[0][0]
    sets = [list(values) for values, _ in Counter(map(tuple, train)).most_common(COMMON_SETS)]
    return max(sets, key=lambda values: sum(sample_f1(values, true) for true in validation))


# ---- vectors


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine [n] of each row of a [n, D] with the same row of b [n, D]; zero for zero vectors."""
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(1), norm, out=np.zeros(len(a)), where=norm > 1e-12)


def retrieval_ranks(queries: np.ndarray, own: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return the rank [n], from 1, of each own vector [n, D] among candidates [m, D] by cosine to the queries [n, D].

    Equal similarities share the middle rank, so a constant query gains nothing from ties.
    """
    ranks = np.empty(len(queries))
    for start in range(0, len(queries), 512):
        block = slice(start, start + 512)
        scores = _unit(queries[block]) @ _unit(candidates).T
        own_scores = cosines(queries[block], own[block])[:, None]
        ties = (np.abs(scores - own_scores) <= 1e-6).sum(1)
        ranks[block] = 1 + (scores > own_scores + 1e-6).sum(1) + np.maximum(ties - 1, 0) / 2
    return ranks


def distinct_share(texts: Sequence[str]) -> float:
    """Return the number of different texts over the number of texts."""
    return len(set(texts)) / len(texts)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
