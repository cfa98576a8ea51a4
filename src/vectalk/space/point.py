"""A point of a space: an entity, or what arithmetic between entities gives."""

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
        space: the space that it lies in.
        source: the expression that gives it, for people and for logs.
        row: row of the entity in the space, or None for a point that is nobody.
        sources: titles of the entities it was made of.
        notes: what was taken for granted when their names were looked up, such as another spelling of a title.
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
        """The entity's title, or the expression of a point that is nobody."""
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
    """Return the point that was made of others of one space, at least one; it names their sources, each once.

    Args:
        points: what it was made of.
        values: [D].
        source: the expression that gives it.
    """
    sources = dict.fromkeys(title for point in points for title in point.sources)
    notes = dict.fromkeys(note for point in points for note in point.notes)
    return Point(values, points[0].space, source, None, tuple(sources), tuple(notes))
