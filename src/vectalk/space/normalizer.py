"""Mean and scale of a space, kept with it, so that an adapter always sees numbers of order one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BLOCK_FLOATS = 2_000_000  # one block in double precision stays near 16 MB


@dataclass(frozen=True)
class Normalizer:
    """Per-dimension mean and scale, fitted on training entities.

    Attributes:
        mean: [D] float32.
        scale: [D] float32, never zero: dimensions that hardly vary are only centred.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, vectors: np.ndarray, rows: np.ndarray | None = None) -> "Normalizer":
        """Fit on vectors [N, D], which may be memory-mapped, or on some rows of them; read twice, in blocks.

        Real tables hold constant dimensions; their scale is set to one.
        """
        rows = np.arange(len(vectors)) if rows is None else rows
        step = max(1, BLOCK_FLOATS // vectors.shape[1])

        def average(of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
            starts = range(0, len(rows), step)
            blocks = (np.asarray(vectors[rows[start : start + step]], np.float64) for start in starts)
            return sum((of(block).sum(axis=0) for block in blocks), np.zeros(vectors.shape[1])) / len(rows)

        mean = average(lambda block: block)
        scale = np.sqrt(average(lambda block: np.square(block - mean)))
        scale[scale <= 1e-6 * max(float(scale.max(initial=0.0)), 1e-30)] = 1.0
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Normalise vectors [..., D]."""
        return (vectors - self.mean) / self.scale

    def inverse(self, normalised: np.ndarray) -> np.ndarray:
        """Undo the normalisation of [..., D]."""
        return normalised * self.scale + self.mean
