"""`GET /api/spaces` and the concepts of a space."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from vectalk.concepts import shelf
from vectalk.serving.api.likes import users_of
from vectalk.serving.api.named import space_of
from vectalk.serving.api.replies import ConceptsReply, SpacesReply
from vectalk.serving.errors import Json
from vectalk.serving.service import Service
from vectalk.space import VectorSpace


def space_routes(service: Service) -> APIRouter:
    """Return the routes that describe the spaces."""
    router = APIRouter()

    def described(name: str, space: VectorSpace) -> dict[str, Any]:
        users = users_of(service.elm, space)
        return {
            "name": name,
            "rows": len(space),
            "dim": space.dim,
            "metric": space.metric,
            "fingerprint": space.fingerprint,
            "licence": space.licence,
            "columns": space.column_names,
            "layout": service.layouts.has(space),
            "concepts": shelf.names(space),
            "texts": name in service.texts,
            "likes": None if users is None else users.name,
            "wordings": [t.prompts[0] for t in service.elm.suite.tasks if set(t.slots.values()) == {name}],
        }

    @router.get(
        "/spaces", summary="List the spaces, with what each has", response_class=Json, response_model=SpacesReply
    )
    def spaces() -> Json:
        return Json({"spaces": [described(name, space) for name, space in service.elm.spaces.items()]})

    @router.get(
        "/spaces/{space}/concepts",
        summary="List the concepts of a space with their statistics",
        description="One step of a concept is one standard deviation: `'A' + 2 * concept('comedy')`.",
        response_class=Json,
        response_model=ConceptsReply,
    )
    def concepts(space: str) -> Json:
        opened = shelf.load_all(space_of(service, space))
        return Json(
            {
                "concepts": [
                    {
                        "name": concept.name,
                        "given": concept.given,
                        "deviation": concept.deviation,
                        "statistics": asdict(concept.statistics),
                    }
                    for concept in opened
                ]
            }
        )

    return router
