"""A server in a thread of the test's process, on a free port of the loopback interface."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from vectalk.serving import Limits, Service, create_app
from vectalk.serving.server import DrainingServer, make_server
from vectalk.talk import ELM

NAME = "islands"


@dataclass
class Live:
    """A server that takes requests."""

    url: str
    port: int
    service: Service
    server: DrainingServer
    thread: threading.Thread

    def http(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    def openai(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def figure(self, name: str, key: str | None = None) -> float:
        """Return a figure of /metrics, all labels together."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        with self.http(headers=headers) as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + " ", name + "{")))

    def ask(self, client: httpx.Client | None = None, **body: Any) -> httpx.Response:
        """Ask for a chat completion."""
        body = {"model": NAME, "max_tokens": 8, **body}
        with client or self.http() as http:
            return http.post("/v1/chat/completions", json=body)


@contextmanager
def served(
    elm: ELM, limits: Limits | None = None, drain_seconds: int = 20, history: bool | None = None, **options: Any
) -> Iterator[Live]:
    """Serve a model."""
    service = Service(elm, NAME, limits or Limits(), history=history)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    up = threading.Event()
    app = create_app(service, **options)
    server = make_server(app, service, drain_seconds=drain_seconds, listening=lambda port: up.set())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        assert up.wait(60)
        yield Live(f"http://127.0.0.1:{port}", port, service, server, thread)
    finally:
        server.handle_exit(15, None)
        thread.join(30)
        sock.close()


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False
