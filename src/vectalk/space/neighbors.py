"""Exact nearest neighbours in blocks: no index to build, constant memory, the same answer every time."""

from typing import Literal

import numpy as np

Metric = Literal["cosine", "dot", "euclidean"]
METRICS: tuple[Metric, ...] = ("cosine", "dot", "euclidean")
BLOCK_FLOATS = 16_000_000  # one block of similarities stays near 64 MB


def similarity(queries: np.ndarray, vectors: np.ndarray, metric: Metric) -> np.ndarray:
    """Return similarities [Q, N] (larger is nearer; Euclidean distances come negated)."""
    queries, vectors = np.asarray(queries, np.float32), np.asarray(vectors, np.float32)
    if metric == "dot":
        return queries @ vectors.T
    if metric == "cosine":
        return _unit(queries) @ _unit(vectors).T
    squared = np.square(queries).sum(1)[:, None] + np.square(vectors).sum(1)[None] - 2 * queries @ vectors.T
    return -np.sqrt(np.maximum(squared, 0.0))


def nearest(
    queries: np.ndarray,
    vectors: np.ndarray,
    k: int,
    metric: Metric,
    *,
    rows: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k most similar vectors for each query, exactly.

    Args:
        queries: [Q, D].
        vectors: [N, D], may be memory-mapped; read in blocks.
        k: neighbours for each query; fewer come back when fewer candidates exist.
        metric: `cosine`, `dot` or `euclidean`.
        rows: candidate rows of `vectors` (all, when omitted).
        exclude: [Q] a row for each query that may not be its neighbour (-1 for none).

    Returns:
        Rows [Q, k] and similarities [Q, k], best first; ties go to the smaller row.
    """
    queries = np.atleast_2d(np.asarray(queries, np.float32))
    total = len(vectors) if rows is None else len(rows)
    k = min(k, total - (1 if exclude is not None and (exclude >= 0).any() else 0))
    best_rows = np.zeros((len(queries), 0), np.int64)
    best = np.zeros((len(queries), 0), np.float32)
    if k <= 0:
        return best_rows, best
    step = max(1, BLOCK_FLOATS // max(len(queries), vectors.shape[1]))
    for start in range(0, total, step):
        block_rows = np.arange(start, min(start + step, total)) if rows is None else rows[start : start + step]
        block = vectors[block_rows[0] : block_rows[-1] + 1] if rows is None else vectors[block_rows]
        scores = similarity(queries, block, metric)
        if exclude is not None:
            scores[block_rows[None, :] == exclude[:, None]] = -np.inf
        if scores.shape[1] > k:
            kept = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            scores = np.take_along_axis(scores, kept, axis=1)
            candidates = block_rows[kept]
        else:
            candidates = np.broadcast_to(block_rows, scores.shape)
        best = np.concatenate([best, scores], axis=1)
        best_rows = np.concatenate([best_rows, candidates], axis=1)
        order = np.lexsort((best_rows, -best), axis=1)[:, :k]
        best, best_rows = np.take_along_axis(best, order, 1), np.take_along_axis(best_rows, order, 1)
    return best_rows, best


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)
