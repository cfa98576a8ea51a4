"""Mean and scale of a space, kept with it, so that an adapter always sees numbers of order one."""

from dataclasses import dataclass

import numpy as np


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
    def fit(cls, vectors: np.ndarray) -> "Normalizer":
        """Fit on vectors [N, D]. Real tables hold constant dimensions; their scale is set to one."""
        mean = vectors.mean(axis=0, dtype=np.float64)
        scale = np.sqrt(np.maximum(np.square(vectors - mean, dtype=np.float64).mean(axis=0), 0.0))
        scale[scale <= 1e-6 * max(float(scale.max(initial=0.0)), 1e-30)] = 1.0
        return cls(mean.astype(np.float32), scale.astype(np.float32))

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Normalise vectors [..., D]."""
        return (vectors - self.mean) / self.scale

    def inverse(self, normalised: np.ndarray) -> np.ndarray:
        """Undo the normalisation of [..., D]."""
        return normalised * self.scale + self.mean
