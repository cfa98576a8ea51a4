"""`/health`, `/ready` and `/metrics`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from vectalk.serving.errors import ApiError, Json
from vectalk.serving.replies import HealthReply, ReadyReply
from vectalk.serving.service import Service


def health_routes(service: Service) -> APIRouter:
    """Return the routes of health and metrics."""
    router = APIRouter(tags=["Operation"])

    @router.get("/health", summary="Is the process alive?", response_class=Json, response_model=HealthReply)
    async def health() -> Json:
        return Json({"status": "ok"})

    @router.get(
        "/ready",
        summary="Can it answer? 503 while it loads or stops, or while its vLLM server is away",
        response_class=Json,
        response_model=ReadyReply,
    )
    async def ready() -> Json:
        if service.gate.draining:
            raise ApiError(503, "the server is stopping", code="draining")
        if not service.ready:
            raise ApiError(503, "the server is loading", code="loading")
        await asyncio.to_thread(service.check_engine)
        return Json({"status": "ready", "model": service.name})

    @router.get("/metrics", summary="Figures in Prometheus' format", response_class=PlainTextResponse)
    def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
