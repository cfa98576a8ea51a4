"""`EventStream`: chunks of a chat completion as server-sent events."""

from __future__ import annotations

from typing import Any

from starlette.types import Send

from vectalk.serving.errors import as_api_error, to_json

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # a proxy such as nginx shall not collect the events
]


class EventStream:
    """Sends events to one client; the response begins with the first event.

    Args:
        send: of the connection; it waits while the client reads slowly.
        head: the fields that every chunk carries.

    Attributes:
        begun: whether an event was sent; no error can then have a status of its own.
    """

    def __init__(self, send: Send, head: dict[str, Any]) -> None:
        self._send, self._head = send, head
        self.begun = False

    async def choice(self, delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> None:
        """Send a chunk with the next part of the only choice."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason, **more}
        await self.send({**self._head, "choices": [choice]})

    async def send(self, content: dict[str, Any]) -> None:
        """Send one event."""
        await self._bytes(b"data: " + to_json(content) + b"\n\n")

    async def fail(self, error: Exception) -> None:
        """Send an error as the last event; the status was sent long before."""
        await self.send(as_api_error(error).body())
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def end(self) -> None:
        """End the stream as clients of OpenAI expect it."""
        await self._bytes(b"data: [DONE]\n\n")
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _bytes(self, data: bytes) -> None:
        if not self.begun:
            self.begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
