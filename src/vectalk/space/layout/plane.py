"""`Plane`: the entities of a map as points of a plane, and the mean of the nearest ones: the inverse of a layout."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

NEAREST = 8  # entities that a place is computed from


class Plane:
    """Finds the entities that are nearest to a place of the map.

    Args:
        coordinates: [N, 2] places of the entities.
        rows: the entities that may be found; all when omitted.
    """

    def __init__(self, coordinates: np.ndarray, rows: np.ndarray | None = None) -> None:
        self.rows = np.arange(len(coordinates)) if rows is None else rows
        self._tree = cKDTree(np.asarray(coordinates[self.rows], np.float64))

    def nearest(self, place: np.ndarray, k: int = NEAREST) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the k nearest entities of a place [2], nearest first, and their distances."""
        distances, positions = self._tree.query(place, k=min(k, len(self.rows)))
        distances, rows = np.atleast_1d(distances), self.rows[np.atleast_1d(positions)]
        order = np.lexsort((rows, distances))
        return rows[order], distances[order]


def weights_of(distances: np.ndarray) -> np.ndarray:
    """Return weights [k] that fall with the inverse of distances [k] and add up to 1; at distance 0 one entity counts.

    Args:
        distances: the distances on the map, smallest first.
    """
    if distances[0] <= 0.0:
        return np.eye(len(distances))[0]
    weights = distances[0] / distances
    return weights / weights.sum()
