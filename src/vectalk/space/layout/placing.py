"""Place vectors on a map by their nearest neighbours among vectors that are on it."""

from __future__ import annotations

import numpy as np

from vectalk.space.neighbors import Metric, nearest

NEIGHBORS = 10


def comparable(vectors: np.ndarray, metric: Metric) -> np.ndarray:
    """Return vectors [N, D] as float32, of length one unless the metric is Euclidean.

    A map compares directions also where the metric is `dot`: by dot product the longest vectors would be the
    neighbours of all others.
    """
    vectors = np.asarray(vectors, np.float32)
    if metric == "euclidean":
        return vectors
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def placed(
    vectors: np.ndarray, anchors: np.ndarray, coordinates: np.ndarray, metric: Metric, rows: np.ndarray | None = None
) -> np.ndarray:
    """Return the coordinates [Q, 2] of vectors: the weighted mean of those of the 10 nearest anchors.

    The weight of an anchor falls exponentially with its distance beyond the nearest one, relative to the mean of these
    distances, so that a vector stays within its own cluster.

    Args:
        vectors: [Q, D].
        anchors: [A, D] vectors with coordinates.
        coordinates: [A, 2].
        metric: metric of the space.
        rows: rows of `anchors` to compare with; all when omitted.
    """
    measure: Metric = "euclidean" if metric == "euclidean" else "cosine"
    places, scores = nearest(vectors, anchors, NEIGHBORS, measure, rows=rows)
    gaps = scores[:, :1].astype(np.float64) - scores
    weights = np.exp(-2.0 * gaps / np.maximum(gaps.mean(axis=1, keepdims=True), 1e-12))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.einsum("qk,qkc->qc", weights, coordinates[places]).astype(np.float32)
