"""Scores, and intervals for them: everything is a statistic of entities that can be resampled together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from vectalk.errors import EvaluationError
from vectalk.tasks.attributes import AttributeReader

RESAMPLES = 2000
CHUNK = 4_000_000  # numbers gathered at once, so that many entities do not fill the memory
COMMON_SETS = 30  # constant answers tried for a list attribute

Statistic = Callable[[np.ndarray], np.ndarray]
"""Maps row indices [B, n] to the statistic of each resample [B]."""


class Estimate(NamedTuple):
    """A figure with its bootstrap 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


# ---- attributes


def sample_f1(predicted: Sequence[str] | None, true: Sequence[str]) -> float:
    """Return the F1 of one entity's values; two empty sets agree."""
    a, b = set(predicted or ()), set(true)
    return 2.0 * len(a & b) / (len(a) + len(b)) if a or b else 1.0


def attribute_score(kind: str, predicted: Sequence[Any], true: Sequence[Any], default: Any = None) -> Statistic:
    """Return the score of predicted values as a statistic of entities.

    Args:
        kind: `list` (mean sample F1 over all values), `number` (Spearman), anything else (accuracy).
        predicted: a value an entity, None where nothing is said.
        true: known values, none of them None.
        default: stands for a number that is not said.
    """
    if kind == "number":
        stated = [default if value is None else value for value in predicted]
        return rank_correlation(np.array(stated, float), np.array(true, float))
    if kind == "list":
        return mean_of(np.array([sample_f1(p, t) for p, t in zip(predicted, true, strict=True)]))
    return mean_of(np.array([float(p == t) for p, t in zip(predicted, true, strict=True)]))


def majority(reader: AttributeReader, train: Sequence[Any], validation: Sequence[Any]) -> Any:
    """Return the best answer that knows no vector.

    Lists: of the commonest sets, the one with the best F1 on validation. Numbers: the mean. Else the
    commonest value.
    """
    if reader.kind == "number":
        return float(np.mean(train))
    if reader.kind != "list":
        return Counter(train).most_common(1)[0][0]
    sets = [list(values) for values, _ in Counter(map(tuple, train)).most_common(COMMON_SETS)]
    return max(sets, key=lambda values: sum(sample_f1(values, true) for true in validation))


# ---- statistics


def mean_of(values: np.ndarray) -> Statistic:
    """The mean of per-entity values [n]."""
    return lambda rows: values[rows].mean(axis=1)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> Statistic:
    """Spearman's correlation of two columns [n]; zero where one of them is constant."""

    def statistic(rows: np.ndarray) -> np.ndarray:
        x, y = (rankdata(column[rows], axis=1) for column in (a, b))
        x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
        norm = np.sqrt(np.square(x).sum(1) * np.square(y).sum(1))
        return np.divide((x * y).sum(1), norm, out=np.zeros(len(rows)), where=norm > 0)

    return statistic


def estimate(
    n: int, statistics: Sequence[Statistic], combine: Callable[..., np.ndarray] = lambda value: value, *, seed: int = 0
) -> Estimate:
    """Bootstrap a function of several statistics, resampling entities for all of them together.

    Args:
        n: number of entities.
        statistics: what to resample.
        combine: joins the statistics' values, arrays in, array out; NaN where it is not defined.
        seed: decides the resamples, so that figures of the same entities are resampled alike.
    """
    if n < 1:
        raise EvaluationError("there are no entities to score")
    value = float(combine(*(s(np.arange(n)[None]) for s in statistics))[0])
    if not np.isfinite(value):
        return Estimate(None, None, None, n)
    rng, drawn, step = np.random.default_rng(seed), [], max(1, CHUNK // n)
    for start in range(0, RESAMPLES, step):
        rows = rng.integers(n, size=(min(step, RESAMPLES - start), n))
        drawn.append(combine(*(s(rows) for s in statistics)))
    found = np.concatenate(drawn)
    # A ratio whose denominator often vanishes has no interval worth the name.
    if np.isfinite(found).mean() < 0.975:
        return Estimate(value, None, None, n)
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return Estimate(value, float(low), float(high), n)


def corrected(score: np.ndarray, floor: np.ndarray, ceiling: np.ndarray) -> np.ndarray:
    """Return (score - floor) / (ceiling - floor), NaN where the ceiling does not lie above the floor.

    Recovery takes the majority as floor and the probe as ceiling; normalised consistency the shuffled control
    and the entity's own text.
    """
    gap = ceiling - floor
    return np.divide(score - floor, gap, out=np.full(np.shape(gap), np.nan), where=gap > 1e-9)


# ---- vectors


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine [n] of each row of a and b [n, D]; zero for zero vectors."""
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(1), norm, out=np.zeros(len(a)), where=norm > 1e-12)


def retrieval_ranks(found: np.ndarray, own: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return the rank [n], from 1, of each own vector among candidates [m, D] by cosine to found [n, D].

    Equal similarities share the middle rank, so that a constant answer gains nothing by ties.
    """
    ranks = np.empty(len(found))
    for start in range(0, len(found), 512):
        block = slice(start, start + 512)
        scores = _unit(found[block]) @ _unit(candidates).T
        mine = cosines(found[block], own[block])[:, None]
        ties = (np.abs(scores - mine) <= 1e-6).sum(1)
        ranks[block] = 1 + (scores > mine + 1e-6).sum(1) + np.maximum(ties - 1, 0) / 2
    return ranks


def distinct_share(texts: Sequence[str]) -> float:
    """Return the share of texts that are distinct."""
    return len(set(texts)) / len(texts)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
