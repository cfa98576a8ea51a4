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
    # |a - b|^2 as |a|^2 + |b|^2 - 2ab loses its digits far from the origin, so the origin is moved to the queries.
    center = queries.mean(axis=0, dtype=np.float64).astype(np.float32)
    a, b = queries - center, vectors - center
    squared = _squares(a)[:, None] + _squares(b)[None]
    squared -= 2 * a @ b.T
    np.sqrt(np.maximum(squared, 0.0, out=squared), out=squared)
    return np.negative(squared, out=squared)


def nearest(
    queries: np.ndarray,
    vectors: np.ndarray,
    k: int,
    metric: Metric,
    *,
    rows: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the k most similar vectors for each query: all are compared, in single precision.

    Args:
        queries: [Q, D].
        vectors: [N, D], may be memory-mapped; read in blocks.
        k: neighbours for each query; fewer come back when fewer candidates exist.
        metric: `cosine`, `dot` or `euclidean`.
        rows: candidate rows of `vectors` (all, when omitted).
        exclude: [Q] a row for each query that may not be its neighbour (-1 for none).

    Returns:
        Rows [Q, k] and similarities [Q, k], best first; equal ones in the order of their rows.
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
            places = _best(scores, k)
            scores = np.take_along_axis(scores, places, axis=1)
            candidates = block_rows[places]
        else:
            candidates = np.broadcast_to(block_rows, scores.shape)
        best = np.concatenate([best, scores], axis=1)
        best_rows = np.concatenate([best_rows, candidates], axis=1)
        order = np.lexsort((best_rows, -best), axis=1)[:, :k]
        best, best_rows = np.take_along_axis(best, order, 1), np.take_along_axis(best_rows, order, 1)
    return best_rows, best


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the places [Q, k], in any order, of the k best of scores [Q, N]; of equal ones, the first."""
    places = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:]
    least = np.take_along_axis(scores, places, axis=1).min(axis=1)
    # Among equal scores at the limit, `argpartition` selects arbitrary rows.
    for query in np.flatnonzero((scores >= least[:, None]).sum(axis=1) > k):
        above = np.flatnonzero(scores[query] > least[query])
        places[query] = np.concatenate([above, np.flatnonzero(scores[query] == least[query])[: k - len(above)]])
    return places


def _squares(vectors: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", vectors, vectors)


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, 1e-12)
