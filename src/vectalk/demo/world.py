"""A small synthetic world whose attributes depend on linear functions of the vector, so all correct answers are known.

The tests and the demo use it: even an answer about a point without an island can be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vectalk.space import VectorSpace
from vectalk.tasks.suite import Suite

RICHES = ("amber", "copper", "honey", "pearls", "salt", "timber")
SUITE = Path(__file__).with_name("islands.yaml")
_SYLLABLES = ("ka", "lo", "mi", "ru", "ta", "ve", "no", "sa", "il", "or", "an", "be", "du", "fe", "go", "hy")


def islands_suite() -> Suite:
    """Return the suite of questions about islands."""
    return Suite.load(SUITE)


@dataclass(frozen=True)
class World:
    """The rules of the world: how the vector of an island decides its attributes.

    Attributes:
        directions: [8, D] orthonormal rows: one for each of the riches, then the year, then the inhabitants.
    """

    directions: np.ndarray

    @classmethod
    def make(cls, dim: int = 16, seed: int = 0) -> World:
        """Create a world with random directions."""
        square, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))
        return cls(square[: len(RICHES) + 2].astype(np.float32))

    def truth(self, vector: np.ndarray) -> dict[str, Any]:
        """Return the true attributes of a vector [D]: riches, year of settlement, inhabitants."""
        levels = self.directions @ np.asarray(vector, np.float32)
        riches = [name for name, level in zip(RICHES, levels, strict=False) if level > 0.0]
        # Every island has at least its strongest one of the riches.
        strongest = RICHES[int(np.argmax(levels[: len(RICHES)]))]
        return {
            "riches": riches or [strongest],
            "settled": 1750 + round(25 * float(levels[-2])),
            "inhabitants": round(5_000 * float(np.exp(levels[-1]))),
        }

    def space(self, size: int = 1500, seed: int = 1) -> VectorSpace:
        """Create random islands and return their space, which is not saved."""
        rng = np.random.default_rng(seed)
        vectors = rng.standard_normal((size, self.directions.shape[1])).astype(np.float32)
        truths = [self.truth(vector) for vector in vectors]
        columns: Mapping[str, list[Any]] = {key: [t[key] for t in truths] for key in truths[0]}
        entities = {"id": [str(i) for i in range(size)], "title": _names(size, rng), **columns}
        return VectorSpace.create(
            "island", vectors, entities, metric="euclidean", licence="invented; no rights reserved"
        )


def _names(count: int, rng: np.random.Generator) -> list[str]:
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(rng.choice(_SYLLABLES, size=rng.integers(2, 5))).capitalize()] = None
    return list(names)
