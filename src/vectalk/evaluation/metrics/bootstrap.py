"""Intervals: every figure is a statistic of entities, and statistics of the same entities are resampled together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from scipy.stats import rankdata

from vectalk.errors import EvaluationError

RESAMPLES = 2000
BLOCK = 2_000_000  # draws made at once, so that many entities do not fill the memory


class Estimate(NamedTuple):
    """A figure with its bootstrap 95 % interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, eq=False)
class Resamples:
    """B resamples of n entities.

    Attributes:
        rows: [B, n] the entities drawn.
        counts: [B, n] how often each was drawn, so that means are one product of matrices.
    """

    rows: np.ndarray
    counts: np.ndarray


Statistic = Callable[[Resamples], np.ndarray]
"""Maps B resamples to the statistic of each [B]; NaN where it is not defined."""


@lru_cache(maxsize=4)
def _block(n: int, seed: int, start: int, size: int) -> Resamples:
    rows = np.random.default_rng([seed, n, start]).integers(n, size=(size, n), dtype=np.int32)
    flat = rows + np.arange(size, dtype=np.int64)[:, None] * n
    return Resamples(rows, np.bincount(flat.ravel(), minlength=size * n).reshape(size, n).astype(np.float64))


def resamples(n: int, seed: int = 0) -> Iterator[Resamples]:
    """Yield the resamples of n entities in blocks; the same for all figures of one seed."""
    step = max(1, BLOCK // n)
    for start in range(0, RESAMPLES, step):
        yield _block(n, seed, start, min(step, RESAMPLES - start))


def whole(statistic: Statistic, n: int) -> float:
    """Return a statistic of all n entities, without an interval."""
    return float(statistic(Resamples(np.arange(n)[None], np.ones((1, n))))[0])


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
    value = whole(lambda sample: combine(*(s(sample) for s in statistics)), n)
    if not np.isfinite(value):
        return Estimate(None, None, None, n)
    found = np.concatenate([combine(*(s(block) for s in statistics)) for block in resamples(n, seed)])
    # A ratio whose denominator often vanishes has no interval worth the name.
    if np.isfinite(found).mean() < 0.975:
        return Estimate(value, None, None, n)
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return Estimate(value, float(low), float(high), n)


# ---- statistics


def mean_of(values: np.ndarray) -> Statistic:
    """The mean of per-entity values [n]; entities whose value is NaN have none and are left out."""
    known = np.isfinite(values)
    if known.all():
        return lambda sample: sample.counts @ values / len(values)
    filled, weight = np.where(known, values, 0.0), known.astype(float)

    def statistic(sample: Resamples) -> np.ndarray:
        return divided(sample.counts @ filled, sample.counts @ weight)

    return statistic


def rank_correlation(a: np.ndarray, b: np.ndarray) -> Statistic:
    """Spearman's correlation of two columns [n], over entities where neither is NaN; zero where one is constant."""
    known = np.isfinite(a) & np.isfinite(b)
    # What is not known ranks above all, where it changes no rank of the others, and is then left out.
    columns = [np.where(known, column, np.inf) for column in (a, b)]
    found: WeakKeyDictionary[Resamples, np.ndarray] = WeakKeyDictionary()  # ranking is dear

    def statistic(sample: Resamples) -> np.ndarray:
        if sample not in found:
            found[sample] = correlate(sample)
        return found[sample]

    def correlate(sample: Resamples) -> np.ndarray:
        there = known[sample.rows].astype(float)
        many = np.maximum(there.sum(1, keepdims=True), 1.0)
        ranks = [rankdata(column[sample.rows], axis=1) * there for column in columns]
        x, y = ((r - r.sum(1, keepdims=True) / many) * there for r in ranks)
        norm = np.sqrt(np.square(x).sum(1) * np.square(y).sum(1))
        return divided((x * y).sum(1), norm, default=0.0)

    return statistic


def correlation(a: np.ndarray, b: np.ndarray) -> Statistic:
    """Pearson's correlation over all entries of two matrices [n, m], whole rows resampled.

    Of matrices of ranks it is Spearman's, with the ranks of the whole.
    """
    sums = np.stack([a.sum(1), b.sum(1), np.square(a).sum(1), np.square(b).sum(1), (a * b).sum(1)], axis=1)
    entries = a.size

    def statistic(sample: Resamples) -> np.ndarray:
        sa, sb, saa, sbb, sab = (sample.counts @ sums / entries).T
        return divided(sab - sa * sb, np.sqrt(np.maximum(saa - sa**2, 0) * np.maximum(sbb - sb**2, 0)), default=0.0)

    return statistic


# ---- joining statistics


def joined(combine: Callable[..., np.ndarray], *statistics: Statistic) -> Statistic:
    """Return the statistic that a function makes of others, all of the same entities."""
    return lambda sample: combine(*(statistic(sample) for statistic in statistics))


def average(*values: np.ndarray) -> np.ndarray:
    """Return the mean of statistics."""
    return np.mean(values, axis=0)


def divided(a: np.ndarray, b: np.ndarray, default: float = np.nan) -> np.ndarray:
    """Return a / b, and the default where b is not above zero."""
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    return np.divide(a, b, out=np.full(shape, default), where=np.asarray(b) > 1e-12)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a - b."""
    return a - b


def corrected(score: np.ndarray, floor: np.ndarray, ceiling: np.ndarray) -> np.ndarray:
    """Return (score - floor) / (ceiling - floor), NaN where the ceiling does not lie above the floor.

    Recovery takes the majority as floor and the probe as ceiling; normalised consistency the shuffled control
    and the entity's own text.
    """
    gap = ceiling - floor
    return np.divide(score - floor, gap, out=np.full(np.shape(gap), np.nan), where=gap > 1e-9)
