"""The layout: where each entity lies on the map, and which vector a place of the map stands for."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from vectalk.serving.api.attributes import binary
from vectalk.serving.api.named import entity_of, part_of, space_of
from vectalk.serving.api.points import point_report
from vectalk.serving.api.replies import BINARY, PlaceReply
from vectalk.serving.body import Body
from vectalk.serving.errors import Json
from vectalk.serving.service import Service
from vectalk.serving.vectors import encoded


class Place(Body):
    """A place of the map."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    x: float = Field(ge=-1e30, le=1e30)
    y: float = Field(ge=-1e30, le=1e30)
    k: int = Field(8, ge=1, le=64, description="How many of the nearest entities on the map count.")


def layout_routes(service: Service) -> APIRouter:
    """Return the routes of the layout."""
    router = APIRouter()

    @router.get(
        "/spaces/{space}/layout",
        summary="The coordinates of all entities",
        description=(
            "Little-endian float32 between -1 and 1, x and y of each row in turn. Status 404 where no layout is "
            "stored: `vectalk space layout DIR` makes one."
        ),
        response_class=Response,
        responses={200: BINARY, 304: {"description": "The layout is the one of `If-None-Match`."}},
    )
    def layout(space: str, request: Request) -> Response:
        stored = service.layouts.of(space_of(service, space))
        tag = f'"{stored.digest[:32]}"'
        caching = {"etag": tag, "cache-control": "private, no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=caching)
        response = binary(stored.coordinates, "layout")
        response.headers.update(caching)
        return response

    @router.post(
        "/spaces/{space}/place",
        summary="The vector that a place of the map stands for",
        description=(
            "The mean of the vectors of the k nearest entities on the map, weighted by the inverse of their distance. "
            "A layout has no exact inverse, so `support` tells whether anything real is there, and `accuracy` tells "
            "how near such vectors are to the own vectors of held-out entities on this map (mean centred cosines; null "
            "where it was not measured). `part` is the content part with which a chat completion takes the vector."
        ),
        response_class=Json,
        response_model=PlaceReply,
    )
    def place(space: str, body: Place) -> Json:
        opened = space_of(service, space)
        stored = service.layouts.of(opened)
        point, rows, weights = stored.point_at(body.x, body.y, body.k)
        nearest = [
            {**entity_of(opened, int(row)), "weight": float(weight)} for row, weight in zip(rows, weights, strict=True)
        ]
        vector = encoded(point.values)
        report = {**point_report(service, point), "at": [body.x, body.y]}
        accuracy = None if stored.accuracy is None else stored.accuracy.model_dump()
        return Json(
            {**report, "base64": vector, "part": part_of(point, vector), "nearest": nearest, "accuracy": accuracy}
        )

    return router
