"""A point of a space: an entity, or the result of arithmetic with entities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vectalk.errors import SpaceError
from vectalk.space.frame import Frame


@dataclass(frozen=True, eq=False)
class Point:
    """A vector that knows its space and where it came from.

    Attributes:
        values: [D] float32.
        space: the space of the point.
        source: the expression of the point, for people and for logs.
        row: row of the entity in the space; None for a point without an entity.
        sources: titles of the entities that the point was computed from.
        notes: assumptions of the name lookup, such as that a name is another spelling of a title.
    """

    values: np.ndarray
    space: Frame = field(repr=False)
    source: str = "vector"
    row: int | None = None
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values = np.asarray(self.values, np.float32)
        if values.shape != (self.space.dim,):
            raise SpaceError(
                f"{self.source}: a point of space {self.space.name!r} has {self.space.dim} dimensions, "
                f"this one has shape {tuple(values.shape)}"
            )
        if not np.isfinite(values).all():
            raise SpaceError(f"{self.source}: the vector holds NaN or infinity")
        object.__setattr__(self, "values", values)

    @property
    def title(self) -> str:
        """The entity's title, or the expression of a point without an entity."""
        return self.source if self.row is None else self.space.title(self.row)

    def __repr__(self) -> str:
        return f"Point({self.source} in {self.space.name!r})"

    def _with(self, other: Point, share: float, sign: str) -> Point:
        if self.space.fingerprint != other.space.fingerprint:
            raise SpaceError(
                f"{self.source} lies in space {self.space.name!r}, {other.source} in {other.space.name!r}: "
                "points of different spaces cannot be combined"
            )
        values = self.values + share * other.values
        return blended([self, other], values, f"({self.source} {sign} {other.source})")

    def __add__(self, other: Point) -> Point:
        return self._with(other, 1.0, "+")

    def __sub__(self, other: Point) -> Point:
        return self._with(other, -1.0, "-")

    def __mul__(self, factor: float) -> Point:
        return blended([self], self.values * factor, f"{factor:g} * {self.source}")

    __rmul__ = __mul__

    def __neg__(self) -> Point:
        return self * -1.0


def blended(points: Sequence[Point], values: np.ndarray, source: str) -> Point:
    """Return a point computed from one or more points of one space; it lists each of their sources once.

    Args:
        points: the points it was computed from.
        values: [D].
        source: the expression of the new point.
    """
    sources = dict.fromkeys(title for point in points for title in point.sources)
    notes = dict.fromkeys(note for point in points for note in point.notes)
    return Point(values, points[0].space, source, None, tuple(sources), tuple(notes))
