"""An OpenAI-compatible endpoint on this machine that misbehaves as it is told."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from vectalk.llm import Budget, ChatClient, Endpoint, ReplyCache


@dataclass
class Answer:
    """What the endpoint does with one request.

    Attributes:
        text: content of the reply.
        status: 200, or an error.
        finish: finish_reason.
        usage: tokens of prompt and reply; None leaves them out.
        headers: more headers.
        body: bytes instead of a reply.
        missing: bytes that are promised and never sent; the connection is closed instead.
        wait: an event that is awaited before anything is sent.
    """

    text: str = "A quiet thing of the sea, told in few words."
    status: int = 200
    finish: str | None = "stop"
    usage: tuple[int, int] | None = (100, 20)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    missing: int = 0
    wait: threading.Event | None = None
    message: dict[str, Any] = field(default_factory=dict)

    def bytes(self) -> bytes:
        if self.body is not None:
            return self.body
        if self.status != 200:
            return json.dumps({"error": {"message": self.text, "type": "t", "code": self.headers.get("code")}}).encode()
        message = {"role": "assistant", "content": self.text, **self.message}
        made: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1, "model": "fake-1"}
        made["choices"] = [{"index": 0, "message": message, "finish_reason": self.finish}]
        if self.usage is not None:
            made["usage"] = dict(zip(("prompt_tokens", "completion_tokens"), self.usage, strict=True))
        return json.dumps(made).encode()


class FakeEndpoint:
    """Attributes: `url`; `requests`, the bodies in order; `headers`, theirs; `keys`, what stood in Authorization;
    `paid`, how often each conversation was answered whole; `most`, how many requests were there at the same time."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Answer]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paid: Counter[str] = Counter()
        self.most = self._now = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def keys(self) -> list[str]:
        return [headers.get("authorization", "") for headers in self.headers]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # header and body leave together, or the next packet waits for an answer to the first

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with fake._lock:
                    number = len(fake.requests)
                    fake.requests.append({"path": self.path, **request})
                    fake.headers.append({name.lower(): value for name, value in self.headers.items()})
                    fake._now += 1
                    fake.most = max(fake.most, fake._now)
                answer = fake.answer(request, number)
                if answer.wait is not None:
                    answer.wait.wait(30)
                body = answer.bytes()
                with fake._lock:
                    fake._now -= 1
                    if answer.status == 200 and not answer.missing and answer.body is None:
                        fake.paid[json.dumps(request["messages"])] += 1
                try:
                    self.send_response(answer.status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body) + answer.missing))
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                    self.wfile.flush()
                    self.close_connection = bool(answer.missing) or self.close_connection
                except OSError:
                    self.close_connection = True  # whoever asked is gone

            def log_message(self, *said: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], Answer] | Answer | str = "") -> Iterator[FakeEndpoint]:
    """Run an endpoint that gives the answer, or that which a function of request and number returns."""
    if callable(answer):
        made = FakeEndpoint(answer)
    else:
        fixed = answer if isinstance(answer, Answer) else Answer(answer) if answer else Answer()
        made = FakeEndpoint(lambda request, number: fixed)
    try:
        yield made
    finally:
        made.close()


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def client_of(
    fake: FakeEndpoint, cache: Path | None = None, budget: Budget | None = None, **settings: Any
) -> ChatClient:
    only = settings.pop("cached_only", False)
    place = Endpoint(model="fake", base_url=fake.url, **settings)
    return ChatClient(place, ReplyCache(cache) if cache else None, budget, cached_only=only)


def ask(client: ChatClient, *texts: str, **options: Any) -> list[Any]:
    return client.map(lambda text: client.chat(say(text), **options), texts)
