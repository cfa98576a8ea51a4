"""Moves between vectors: lines, arcs, means and analogies. Arrays [..., D] in, arrays out."""

from collections.abc import Sequence

import numpy as np


def lerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Return the point a share t of the way along the line from a to b."""
    return (1.0 - t) * a + t * b


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Return the point a share t along the arc from a to b; lengths are interpolated too.

    Falls back to the line where the arc is not defined (a zero vector, parallel or opposite directions).
    """
    norm_a, norm_b = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if norm_a == 0.0 or norm_b == 0.0:
        return lerp(a, b, t)
    cosine = float(np.clip(np.dot(a, b) / (norm_a * norm_b), -1.0, 1.0))
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:
        return lerp(a, b, t)
    direction = (np.sin((1 - t) * angle) * a / norm_a + np.sin(t * angle) * b / norm_b) / np.sin(angle)
    return ((1 - t) * norm_a + t * norm_b) * direction


def mean(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of several vectors."""
    return np.mean(np.stack(list(vectors)), axis=0)


def analogy(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return what is to c as b is to a: c + b - a."""
    return c + b - a
