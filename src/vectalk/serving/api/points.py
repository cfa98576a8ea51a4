"""Points of a space: an expression resolved, its neighbours, its support."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import Field

from vectalk.serving.api.named import PointRequest, entity_of, part_of, space_of
from vectalk.serving.api.replies import NeighborsReply, PointReply, SupportOnly
from vectalk.serving.errors import Json
from vectalk.serving.service import Service
from vectalk.serving.vectors import encoded, point_of
from vectalk.space import Point, VectorSpace


class NeighborsRequest(PointRequest):
    """A point, and how many neighbours it has in the answer."""

    k: int = Field(10, ge=1, le=1_000)
    split: Literal["train", "validation", "test"] | None = Field(None, description="Search this split alone.")


def point_routes(service: Service) -> APIRouter:
    """Return the routes of points."""
    router = APIRouter()
    characters = service.limits.characters

    @router.post(
        "/spaces/{space}/resolve",
        summary="The vector of an expression, with its support",
        description=(
            "Titles, ids, `lerp(a, b, t)`, `slerp`, `mean`, `analogy`, `concept(name)`, `random()`, `+ - *`. `part` is "
            "the content part with which a chat completion takes the vector."
        ),
        response_class=Json,
        response_model=PointReply,
    )
    def resolve(space: str, body: PointRequest) -> Json:
        opened = space_of(service, space)
        point = point_of(service.elm, body, characters, "expression", opened)
        vector = encoded(point.values)
        return Json({**point_report(service, point), "base64": vector, "part": part_of(point, vector)})

    @router.post(
        "/spaces/{space}/neighbors",
        summary="The nearest entities of a point",
        response_class=Json,
        response_model=NeighborsReply,
    )
    def neighbors(space: str, body: NeighborsRequest) -> Json:
        opened = space_of(service, space)
        point = point_of(service.elm, body, characters, "expression", opened)
        rows, scores = opened.neighbors(point, body.k, split_name=body.split)
        return Json({"neighbors": _listed(opened, rows, scores)})

    @router.post(
        "/spaces/{space}/support",
        summary="How near a point lies to real entities",
        response_class=Json,
        response_model=SupportOnly,
    )
    def support(space: str, body: PointRequest) -> Json:
        point = point_of(service.elm, body, characters, "expression", space_of(service, space))
        return Json({"support": point_report(service, point)["support"]})

    return router


def point_report(service: Service, point: Point) -> dict[str, Any]:
    """Return where a point comes from, where it lies on the map (None without a layout), and what supports it."""
    space = VectorSpace.of(point)
    support = space.support(point)
    at = service.layouts.of(space).at(point).tolist() if service.layouts.has(space) else None
    return {
        "space": space.name,
        "source": point.source,
        "sources": list(point.sources),
        "entity": None if point.row is None else entity_of(space, point.row),
        "notes": list(point.notes),
        "at": at,
        "support": {**asdict(support), "text": str(support)},
    }


def _listed(space: VectorSpace, rows: np.ndarray, scores: np.ndarray) -> list[dict[str, Any]]:
    return [{**entity_of(space, int(row)), "similarity": float(score)} for row, score in zip(rows, scores, strict=True)]
