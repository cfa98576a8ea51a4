"""`VllmServer`: the requests that vectalk sends to a vLLM server; every failure is an EngineError."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vectalk.errors import EngineError

PATIENCE = 600.0  # longest wait for an answer, in seconds
CHECK_SECONDS = 5.0  # longest wait for a sign of life
CHAT = "/v1/chat/completions"


class VllmServer:
    """A vLLM server on the loopback interface.

    Args:
        url: address of the server, without `/v1`.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def first_model(self) -> str:
        """Return the name of the first model of the server."""
        with self._open("/v1/models") as reply:
            return str(json.load(reply)["data"][0]["id"])

    def check(self) -> None:
        """Raise an EngineError unless the server is ready to answer."""
        with self._open("/health", seconds=CHECK_SECONDS):
            pass

    def choice(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the only choice of a chat completion."""
        with self._open(CHAT, body) as reply:
            choice: dict[str, Any] = json.load(reply)["choices"][0]
        return choice

    def choices(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the choice of each event of a streamed chat completion.

        Raises:
            EngineError: the server reports an error, or the stream ends before the answer does.
        """
        ended = False
        with self._open(CHAT, {**body, "stream": True}) as reply:
            for line in reply:
                data = line.decode().strip().removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                event = json.loads(data) if data else {}
                if "error" in event:
                    error = event["error"]
                    text = error.get("message") if isinstance(error, dict) else error
                    raise EngineError(f"the vLLM server at {self.url} failed during an answer: {text}")
                for choice in event.get("choices") or ():
                    ended = ended or choice.get("finish_reason") is not None
                    yield choice
        if not ended:
            raise EngineError(f"the vLLM server at {self.url} ended the connection during an answer")

    @contextmanager
    def _open(self, path: str, body: dict[str, Any] | None = None, seconds: float = PATIENCE) -> Iterator[Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            reply = urllib.request.urlopen(request, timeout=seconds)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")[:300]
            raise EngineError(f"{self.url}{path} refuses the request ({error.code}): {text}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise EngineError(f"no vLLM server answers at {self.url}: {reason}; start one with `vllm serve`") from None
        with reply:
            try:
                yield reply
            except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
                raise EngineError(
                    f"the vLLM server at {self.url} ended the connection during an answer: {error!r}"
                ) from None
