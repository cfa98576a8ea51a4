"""Spaces, rows and points that an address or a body names."""

from __future__ import annotations

from vectalk.serving.body import Body
from vectalk.serving.errors import ApiError
from vectalk.serving.service import Service
from vectalk.serving.vectors import VectorValue, space_named
from vectalk.space import Point, VectorSpace


def space_of(service: Service, name: str) -> VectorSpace:
    """Return the space of an address; status 404 where there is none."""
    try:
        return space_named(service.elm, name)
    except ApiError as error:
        raise ApiError(404, error.message, param="space", code="unknown_space") from None


def rows_of(text: str, space: VectorSpace, most: int) -> list[int]:
    """Return the row numbers of a list such as `0,17,3`.

    Raises:
        ApiError: a number is malformed or beyond the space, or there are too many.
    """
    parts = text.split(",")
    if len(parts) > most:
        raise ApiError(400, f"rows names {len(parts)} rows; allowed are {most}", param="rows", code="too_many_rows")
    rows = [int(part) if part.isascii() and part.isdecimal() and len(part) < 12 else -1 for part in parts]
    for part, row in zip(parts, rows, strict=True):
        if not 0 <= row < len(space):
            raise ApiError(
                400, f"rows takes numbers from 0 to {len(space) - 1}, not {part!r}", param="rows", code="invalid_row"
            )
    return rows


def entity_of(space: VectorSpace, row: int) -> dict[str, str | int]:
    """Return row, id and title of an entity."""
    return {"row": row, "id": str(space.column("id")[row].as_py()), "title": space.title(row)}


class PointRequest(VectorValue, Body):
    """A point of the space of the address, given by exactly one of `expression`, `values` and `base64`."""


def part_of(point: Point, base64: str) -> dict[str, str]:
    """Return the content part with which a chat completion takes a point."""
    return {"type": "vector", "space": point.space.name, "base64": base64}
