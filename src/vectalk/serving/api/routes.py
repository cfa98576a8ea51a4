"""All routes under `/api`."""

from __future__ import annotations

from fastapi import APIRouter

from vectalk.serving.api.attributes import attribute_routes
from vectalk.serving.api.entities import entity_routes
from vectalk.serving.api.facts import fact_routes
from vectalk.serving.api.layout import layout_routes
from vectalk.serving.api.likes import like_routes
from vectalk.serving.api.mentions import mention_routes
from vectalk.serving.api.points import point_routes
from vectalk.serving.api.probe import probe_routes
from vectalk.serving.api.spaces import space_routes
from vectalk.serving.service import Service


def api_routes(service: Service) -> APIRouter:
    """Return the routes of the map's API."""
    router = APIRouter(prefix="/api", tags=["Map"])
    for routes in (
        space_routes,
        entity_routes,
        attribute_routes,
        layout_routes,
        point_routes,
        probe_routes,
        like_routes,
        fact_routes,
        mention_routes,
    ):
        router.include_router(routes(service))
    return router
