"""`create_app`: the FastAPI application of one model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from vectalk.serving.api.routes import api_routes
from vectalk.serving.chat import chat_routes
from vectalk.serving.docs import docs_routes
from vectalk.serving.embeddings import embedding_routes
from vectalk.serving.errors import install_handlers
from vectalk.serving.guard import Guard, Hosts, Keys
from vectalk.serving.health import health_routes
from vectalk.serving.models import model_routes
from vectalk.serving.observe import Observe
from vectalk.serving.page import add_page
from vectalk.serving.schema import Described
from vectalk.serving.service import Service
from vectalk.version import __version__

SUMMARY = "Talk to any point of an embedding space, in the format of OpenAI's API."


def create_app(
    service: Service,
    *,
    keys: Keys | None = None,
    hosts: Hosts | None = None,
    origins: Sequence[str] = (),
    page: bool = True,
    access_log: bool = False,
) -> FastAPI:
    """Return the application of a model.

    Args:
        service: the model and the limits.
        keys: the API keys; none are needed when omitted.
        hosts: the allowed names of the server; those of the loopback interface when omitted.
        origins: origins whose pages may call the server from a browser (CORS).
        page: serve the page of the map, where it is built.
        access_log: log a line for each request.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if not service.ready:
            await asyncio.to_thread(service.warm)
        yield
        service.writer.close()

    app = Described(
        title="vectalk",
        summary=SUMMARY,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    install_handlers(app)
    for router in (
        chat_routes(service),
        embedding_routes(service),
        model_routes(service),
        health_routes(service),
        api_routes(service),
        docs_routes(app),
    ):
        app.include_router(router)
    if page:
        add_page(app)
    app.add_middleware(Guard, keys=keys or Keys(), hosts=hosts or Hosts(), limits=service.limits)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
    app.add_middleware(Observe, metrics=service.metrics, access_log=access_log)
    return app
