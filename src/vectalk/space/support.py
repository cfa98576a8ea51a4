"""Support: how near to anything real a vector lies, in a sentence that a person can check."""

from dataclasses import dataclass

import numpy as np

from vectalk.space.neighbors import Metric, nearest

NEIGHBORS = 10
SAMPLE = 2_000
FAR, CENTRAL = 95.0, 5.0


@dataclass(frozen=True)
class Support:
    """Where a vector's mean distance to its nearest training entities falls among those of real entities.

    Attributes:
        percentile: share of real entities, in percent, that lie nearer to their neighbours than this vector.
        distance: mean distance to the 10 nearest training entities (1 - cosine, or Euclidean).
        verdict: `real` (as near as entities are), `far` (above the 95th percentile) or `central` (below the
            5th: means shrink, so an average of many lies nearer to all than any of them does).
        sources: what a point was made of; empty for a bare vector.
        entity: whether it is a real entity itself.
    """

    percentile: float
    distance: float
    verdict: str
    sources: tuple[str, ...] = ()
    entity: bool = False

    def __str__(self) -> str:
        if self.entity:
            lies = {"real": "", "far": ", far from the others", "central": ", unusually close to its neighbours"}
            return f"a real entity{lies[self.verdict]} (percentile {self.percentile:.0f})"
        words = {
            "real": "as near to real entities as they are to each other",
            "far": "far from anything real",
            "central": "nearer to real entities than they are to each other: an average, not a place",
        }
        blend = f"; a blend of {', '.join(self.sources)}" if len(self.sources) > 1 else ""
        return f"{words[self.verdict]} (percentile {self.percentile:.0f}){blend}"


def mean_distance(
    queries: np.ndarray,
    vectors: np.ndarray,
    metric: Metric,
    rows: np.ndarray,
    exclude: np.ndarray | None = None,
) -> np.ndarray:
    """Return the mean distance [Q] of queries [Q, D] to their 10 nearest among `rows` of vectors [N, D]."""
    # A dot product is no distance; there the Euclidean one serves.
    used: Metric = "cosine" if metric == "cosine" else "euclidean"
    _, scores = nearest(queries, vectors, NEIGHBORS, used, rows=rows, exclude=exclude)
    distances = 1.0 - scores if used == "cosine" else -scores
    return distances.mean(axis=1)


def reference_distances(vectors: np.ndarray, metric: Metric, rows: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the sorted leave-one-out distances of up to 2,000 sampled training entities."""
    sample = np.sort(np.random.default_rng(seed).permutation(rows)[:SAMPLE])
    return np.sort(mean_distance(vectors[sample], vectors, metric, rows, exclude=sample)).astype(np.float32)


def support_from(
    distance: float, reference: np.ndarray, sources: tuple[str, ...] = (), entity: bool = False
) -> Support:
    """Place a mean distance among the sorted reference distances [R] of real entities."""
    percentile = 100.0 * float(np.searchsorted(reference, distance, side="right")) / max(len(reference), 1)
    verdict = "far" if percentile > FAR else "central" if percentile < CENTRAL else "real"
    return Support(percentile, distance, verdict, sources, entity)
