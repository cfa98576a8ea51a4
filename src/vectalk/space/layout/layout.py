"""`Layout`: where each entity of a space lies on a map, saved beside the space."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from vectalk.errors import SpaceError
from vectalk.files import atomic_files, write_json
from vectalk.reading.cards import read_card, stamp
from vectalk.space.layout.accuracy import Accuracy
from vectalk.space.layout.placing import placed
from vectalk.space.layout.plane import NEAREST, Plane, weights_of
from vectalk.space.point import Point
from vectalk.space.vector_space import VectorSpace

ARRAY, CARD = "layout.npy", "layout.json"
FORMAT = 1
SAME = 1e-6  # distance, relative to the span of the map, at which a place is that of an entity


class Card(BaseModel):
    """`layout.json`; see `Layout` for its fields."""

    fingerprint: str
    method: str
    seed: int
    fitted: int
    sha256: str
    accuracy: Accuracy | None = None


@dataclass(eq=False)
class Layout:
    """Coordinates of the entities of a space.

    Attributes:
        space: the space.
        coordinates: [N, 2] float32, within -1 and 1.
        method: how they were fitted: `umap`, `tsne` or `pca`.
        seed: seed of the fit.
        fitted: number of training entities that were fitted; the others were placed by their neighbours.
        accuracy: how near the vectors of places are to those of held-out entities; None where it was not measured.
    """

    space: VectorSpace
    coordinates: np.ndarray
    method: str
    seed: int
    fitted: int
    accuracy: Accuracy | None = None

    # ---- save and load

    def save(self) -> Path:
        """Write the layout beside its space, both files or none, and return the folder.

        Raises:
            SpaceError: the space was not saved, or its folder cannot be written.
        """
        if self.space.path is None:
            raise SpaceError(f"space {self.space.name!r} was not saved, so its layout has no place; save the space")
        coordinates = np.ascontiguousarray(self.coordinates, np.float32)
        card = Card(
            fingerprint=self.space.fingerprint,
            method=self.method,
            seed=self.seed,
            fitted=self.fitted,
            sha256=self.digest,
            accuracy=self.accuracy,
        )
        try:
            with atomic_files(self.space.path) as folder:
                np.save(folder / ARRAY, coordinates)
                write_json(folder / CARD, {**stamp(FORMAT), **card.model_dump()})
        except OSError as error:
            reason = error.strerror or error
            raise SpaceError(f"the layout cannot be written to {self.space.path}: {reason}") from None
        return self.space.path

    @classmethod
    def load(cls, space: VectorSpace) -> Layout:
        """Open the layout beside a space.

        Raises:
            SpaceError: there is none, or it is broken or belongs to other vectors; the message tells the fix.
        """
        if space.path is None or not (space.path / CARD).is_file():
            raise SpaceError(f"space {space.name!r} has no layout; make one with `vectalk space layout DIR`")
        path, fix = space.path / ARRAY, "make it again with `vectalk space layout DIR`"
        card: Card = read_card(space.path / CARD, FORMAT, Card, SpaceError)
        if card.fingerprint != space.fingerprint:
            raise SpaceError(f"the layout in {space.path} belongs to other vectors: the space has changed; {fix}")
        try:
            coordinates = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise SpaceError(f"{path} cannot be read ({' '.join(str(error).split())}); {fix}") from None
        if coordinates.shape != (len(space), 2) or coordinates.dtype != np.float32:
            raise SpaceError(
                f"{path} holds {coordinates.dtype} of shape {coordinates.shape}, not float32 of shape "
                f"{(len(space), 2)}; {fix}"
            )
        if _digest(coordinates) != card.sha256:
            raise SpaceError(f"{path} and {CARD} do not belong together; {fix}")
        return cls(space, coordinates, card.method, card.seed, card.fitted, card.accuracy)

    @cached_property
    def digest(self) -> str:
        """The sha256 of the coordinates."""
        return _digest(self.coordinates)

    # ---- from vectors to places and back

    def locate(self, vector: np.ndarray) -> np.ndarray:
        """Return where a vector [D] lies on the map, [2]: among its nearest entities."""
        return placed(vector[None], self.space.vectors, self.coordinates, self.space.metric)[0]

    def at(self, point: Point) -> np.ndarray:
        """Return where a point lies on the map, [2]; an entity lies at its own coordinates."""
        return self.coordinates[point.row] if point.row is not None else self.locate(point.values)

    def point_at(self, x: float, y: float, k: int = NEAREST) -> tuple[Point, np.ndarray, np.ndarray]:
        """Return the point that a place of the map stands for.

        A layout has no exact inverse. The point is the mean of the vectors of the k nearest entities on the map,
        weighted by the inverse of their distances there; `VectorSpace.support` tells whether anything real is near it.
        On top of an entity it is that entity.

        Args:
            x: first coordinate.
            y: second coordinate.
            k: how many entities count.

        Returns:
            The point, the rows [k] of the entities, nearest first, and their weights [k].
        """
        rows, distances = self._plane.nearest(np.array([x, y], np.float64), k)
        if distances[0] <= SAME * self._span:
            return self.space[int(rows[0])], rows[:1], np.ones(1)
        weights = weights_of(distances)
        vector = weights @ np.asarray(self.space.vectors[rows], np.float64)
        titles = tuple(self.space.title(int(row)) for row in rows)
        source = f"the place ({x:.4g}, {y:.4g}) of the map"
        return Point(vector.astype(np.float32), self.space, source, None, titles), rows, weights

    @cached_property
    def _span(self) -> float:
        return float(np.ptp(self.coordinates, axis=0).max()) or 1.0

    @cached_property
    def _plane(self) -> Plane:
        return Plane(self.coordinates)


def _digest(coordinates: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(coordinates, "<f4").tobytes()).hexdigest()
