"""The layout: where each entity lies on the map, and which vector a place of the map stands for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from vectalk.serving.api.attributes import binary
from vectalk.serving.api.named import entity_of, part_of, space_of
from vectalk.serving.api.points import point_report
from vectalk.serving.errors import ApiError, Json
from vectalk.serving.service import Service
from vectalk.serving.vectors import encoded
from vectalk.space import Point, VectorSpace

FILE = "layout.npy"


class Place(BaseModel):
    """A place of the map."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    x: float = Field(ge=-1e30, le=1e30)
    y: float = Field(ge=-1e30, le=1e30)
    k: int = Field(8, ge=1, le=64, description="How many of the nearest entities on the map count.")


def layout_path(space: VectorSpace) -> Path | None:
    """Return the file of the layout beside a space; None where there is none."""
    path = None if space.path is None else space.path / FILE
    return path if path is not None and path.is_file() else None


def read_layout(space: VectorSpace) -> np.ndarray:
    """Return the coordinates [N, 2] of the entities, memory-mapped.

    Raises:
        ApiError: no layout is stored (404), or it does not fit the space.
    """
    path = layout_path(space)
    if path is None:
        raise ApiError(
            404, f"no layout is stored for space {space.name!r}: there is no {FILE} beside its space.json",
            code="no_layout",
        )  # fmt: skip
    try:
        layout = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        message = f"the layout of space {space.name!r} cannot be read; make it again"
        raise ApiError(404, message, code="no_layout") from None
    if layout.shape != (len(space), 2) or layout.dtype != np.float32:
        raise ApiError(
            404,
            f"the layout of space {space.name!r} is {layout.dtype} of shape {layout.shape}, not float32 of shape "
            f"{(len(space), 2)}; make it again",
            code="no_layout",
        )
    return np.asarray(layout)


def point_at(space: VectorSpace, layout: np.ndarray, place: Place) -> tuple[Point, np.ndarray, np.ndarray]:
    """Return the point that a place stands for, with the rows [k] and weights [k] of the entities that made it.

    It is the mean of the vectors of the nearest entities on the map, weighted by the inverse of their distance there;
    on top of an entity it is that entity's own vector.
    """
    offsets = np.asarray(layout, np.float64) - (place.x, place.y)
    squares = np.square(offsets).sum(axis=1)
    k = min(place.k, len(space))
    rows = np.argpartition(squares, k - 1)[:k]
    rows = rows[np.lexsort((rows, squares[rows]))]
    distances = np.sqrt(squares[rows])
    span = float(np.ptp(np.asarray(layout, np.float64), axis=0).max()) or 1.0
    if distances[0] <= 1e-6 * span:
        return space[int(rows[0])], rows[:1], np.ones(1)
    weights = 1.0 / distances
    weights /= weights.sum()
    vector = weights @ np.asarray(space.vectors[rows], np.float64)
    titles = tuple(space.title(int(row)) for row in rows)
    return Point(vector.astype(np.float32), space, f"the place ({place.x:g}, {place.y:g})", None, titles), rows, weights


def layout_routes(service: Service) -> APIRouter:
    """Return the routes of the layout."""
    router = APIRouter()

    @router.get(
        "/spaces/{space}/layout",
        summary="The coordinates of all entities",
        description="Little-endian float32, x and y of each row in turn. Status 404 where no layout is stored.",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}},
    )
    def layout(space: str, request: Request) -> Response:
        opened = space_of(service, space)
        coordinates = read_layout(opened)
        path = layout_path(opened)
        assert path is not None
        tag = f'"{opened.fingerprint[:16]}-{path.stat().st_mtime_ns:x}"'
        caching = {"etag": tag, "cache-control": "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=caching)
        response = binary(coordinates, "layout")
        response.headers.update(caching)
        return response

    @router.post(
        "/spaces/{space}/place",
        summary="The vector that a place of the map stands for",
        description=(
            "The mean of the vectors of the k nearest entities on the map, weighted by the inverse of their distance. "
            "A layout has no exact inverse, so `support` tells whether anything real is there. `part` is the content "
            "part with which a chat completion takes the vector."
        ),
        response_class=Json,
    )
    def place(space: str, body: Place) -> Json:
        opened = space_of(service, space)
        point, rows, weights = point_at(opened, read_layout(opened), body)
        nearest = [
            {**entity_of(opened, int(row)), "weight": float(weight)} for row, weight in zip(rows, weights, strict=True)
        ]
        vector = encoded(point.values)
        return Json({**point_report(point), "base64": vector, "part": part_of(point, vector), "nearest": nearest})

    return router
