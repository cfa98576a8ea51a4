"""Bootstrap intervals. A figure is a statistic of entities; statistics of the same entities share their resamples."""

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
BLOCK = 2_000_000  # draws in one block: limits the memory for many entities


class Estimate(NamedTuple):
    """A figure with its 95 % bootstrap interval; a field is None if it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, eq=False)
class Resamples:
    """B resamples of n entities.

    Attributes:
        rows: [B, n] the sampled entities.
        counts: [B, n] how often each entity was sampled; with it, a mean is one matrix product.
    """

    rows: np.ndarray
    counts: np.ndarray


Statistic = Callable[[Resamples], np.ndarray]
"""Maps B resamples to the value of the statistic [B] on each resample; NaN if it is not defined."""


@lru_cache(maxsize=4)
def _block(n: int, seed: int, start: int, size: int) -> Resamples:
    rows = np.random.default_rng([seed, n, start]).integers(n, size=(size, n), dtype=np.int32)
    flat = rows + np.arange(size, dtype=np.int64)[:, None] * n
    return Resamples(rows, np.bincount(flat.ravel(), minlength=size * n).reshape(size, n).astype(np.float64))


def resamples(n: int, seed: int = 0) -> Iterator[Resamples]:
    """Yield the resamples of n entities in blocks; the same n and seed give the same resamples."""
    step = max(1, BLOCK // n)
    for start in range(0, RESAMPLES, step):
        yield _block(n, seed, start, min(step, RESAMPLES - start))


def whole(statistic: Statistic, n: int) -> float:
    """Return the value of a statistic on all n entities, without an interval."""
    return float(statistic(Resamples(np.arange(n)[None], np.ones((1, n))))[0])


def estimate(
    n: int, statistics: Sequence[Statistic], combine: Callable[..., np.ndarray] = lambda value: value, *, seed: int = 0
) -> Estimate:
    """Return a function of several statistics with its bootstrap interval; all statistics share the resamples.

    Args:
        n: number of entities.
        statistics: the statistics, all of the same entities.
        combine: maps the values of the statistics (one array [B] each) to one array [B]; NaN if it is not defined.
        seed: seed of the resamples; figures of the same entities use the same seed and so the same resamples.
    """
    if n < 1:
        raise EvaluationError("there are no entities to score")
    value = whole(lambda sample: combine(*(s(sample) for s in statistics)), n)
    if not np.isfinite(value):
        return Estimate(None, None, None, n)
    values = np.concatenate([combine(*(s(block) for s in statistics)) for block in resamples(n, seed)])
    # The denominator of a ratio is often zero here: an interval would mean nothing.
    if np.isfinite(values).mean() < 0.975:
        return Estimate(value, None, None, n)
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Estimate(value, float(low), float(high), n)


# ---- statistics


def mean_of(values: np.ndarray) -> Statistic:
    """Return the mean of values [n], one for each entity; entities with NaN are left out."""
    known = np.isfinite(values)
    if known.all():
        return lambda sample: sample.counts @ values / len(values)
    filled, weight = np.where(known, values, 0.0), known.astype(float)

    def statistic(sample: Resamples) -> np.ndarray:
        return divided(sample.counts @ filled, sample.counts @ weight)

    return statistic


def rank_correlation(a: np.ndarray, b: np.ndarray) -> Statistic:
    """Return Spearman's correlation of two columns [n]; entities with a NaN are left out; 0 if a column is constant."""
    known = np.isfinite(a) & np.isfinite(b)
    # Unknown values get the highest ranks, which changes no rank of the others; then they are left out.
    columns = [np.where(known, column, np.inf) for column in (a, b)]
    correlations: WeakKeyDictionary[Resamples, np.ndarray] = WeakKeyDictionary()  # ranking is expensive

    def statistic(sample: Resamples) -> np.ndarray:
        if sample not in correlations:
            correlations[sample] = correlate(sample)
        return correlations[sample]

    def correlate(sample: Resamples) -> np.ndarray:
        present = known[sample.rows].astype(float)
        counts = np.maximum(present.sum(1, keepdims=True), 1.0)
        ranks = [rankdata(column[sample.rows], axis=1) * present for column in columns]
        x, y = ((r - r.sum(1, keepdims=True) / counts) * present for r in ranks)
        norm = np.sqrt(np.square(x).sum(1) * np.square(y).sum(1))
        return divided((x * y).sum(1), norm, default=0.0)

    return statistic


def correlation(a: np.ndarray, b: np.ndarray) -> Statistic:
    """Return Pearson's correlation over all entries of two matrices [n, m]; the bootstrap resamples rows.

    For matrices of ranks this is Spearman's correlation. The ranks are not computed again for each resample.
    """
    sums = np.stack([a.sum(1), b.sum(1), np.square(a).sum(1), np.square(b).sum(1), (a * b).sum(1)], axis=1)
    entries = a.size

    def statistic(sample: Resamples) -> np.ndarray:
        sa, sb, saa, sbb, sab = (sample.counts @ sums / entries).T
        return divided(sab - sa * sb, np.sqrt(np.maximum(saa - sa**2, 0) * np.maximum(sbb - sb**2, 0)), default=0.0)

    return statistic


# ---- joining statistics


def joined(combine: Callable[..., np.ndarray], *statistics: Statistic) -> Statistic:
    """Return the statistic that applies a function to the values of other statistics of the same entities."""
    return lambda sample: combine(*(statistic(sample) for statistic in statistics))


def average(*values: np.ndarray) -> np.ndarray:
    """Return the mean of the values of several statistics."""
    return np.mean(values, axis=0)


def divided(a: np.ndarray, b: np.ndarray, default: float = np.nan) -> np.ndarray:
    """Return a / b, or the default where b is not above zero."""
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    return np.divide(a, b, out=np.full(shape, default), where=np.asarray(b) > 1e-12)


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a - b."""
    return a - b


def corrected(score: np.ndarray, floor: np.ndarray, ceiling: np.ndarray) -> np.ndarray:
    """Return (score - floor) / (ceiling - floor), or NaN where the ceiling is not above the floor.

    In recovery, the floor is the majority baseline and the ceiling is the probe. In normalised consistency, the floor
    is the shuffled control and the ceiling is the entity's own reference text.
    """
    gap = ceiling - floor
    return np.divide(score - floor, gap, out=np.full(np.shape(gap), np.nan), where=gap > 1e-9)
