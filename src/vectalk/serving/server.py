"""`run_server`: uvicorn with one process, which finishes what it has begun when it is told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from vectalk.serving.service import Service


class DrainingServer(uvicorn.Server):
    """A server that takes no new requests after SIGTERM or Ctrl-C, and finishes the others.

    Args:
        config: settings of uvicorn.
        service: the model; its gate is closed first.
        listening: called with the port when requests are taken.
    """

    def __init__(self, config: uvicorn.Config, service: Service, listening: Callable[[int], None]) -> None:
        super().__init__(config)
        self.service, self._listening = service, listening

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Open the socket."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self._listening(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; Ctrl-C once more stops at once. The process ends as one that succeeded."""
        self.service.gate.draining = True
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def make_server(
    app: FastAPI,
    service: Service,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    drain_seconds: int = 30,
    listening: Callable[[int], None] = lambda port: None,
) -> DrainingServer:
    """Return the server of an application; `run` starts it.

    Args:
        app: the application.
        service: its model.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        drain_seconds: time that answers in progress have after SIGTERM.
        listening: called with the port when requests are taken.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=drain_seconds,
        ws="none",
        lifespan="on",
    )
    return DrainingServer(config, service, listening)
